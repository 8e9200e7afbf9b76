"""Scenes in words: plans, descriptions and verdicts as the model says them, and how what it says is read again."""

from __future__ import annotations

import re

from agents.tasks.compose_asks import Ask
from agents.tasks.compose_edits import Edit, exact
from agents.tasks.compose_rules import FAULTS, Kind, Relation, Request, Verdict, matched
from agents.tasks.maze_words import cell_at, cell_name
from agents.tasks.scene import COLOURS, SHAPES, SIDE, SIZES, Scene, Slot, Thing

INSTRUCTIONS: dict[str, str] = {
    "next": "compose next :",
    "judge": "compose judge :",
    "describe": "compose describe",
    "direct": "compose direct :",
    "ask": "compose ask :",
}
DONE = "all there . done ."
_KINDS = {words: kind for kind, words in FAULTS.items()}
_THING = re.compile(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) ({'|'.join(SIZES)}) ([a-d][1-4])")
_PLAN = re.compile(r"\bplan : (?P<ops>[^.]*)\.")
_VERDICT = re.compile(rf"\b(?:(?P<ok>correct)|wrong \. (?P<fault>{'|'.join(FAULTS.values())})(?: at (?P<slot>[a-d][1-4]))?) \.")


def things_words(scene: Scene) -> str:
    """All things in reading order; "none" for an empty sheet."""
    return " , ".join(thing.words for thing in scene.things) or "none"


def describe_words(scene: Scene) -> str:
    return f"{things_words(scene)} ."


def plan_words(before: Scene, after: Scene, ask: Ask | None = None) -> str:
    """What has to be drawn and cleared to get from one scene to another: in the order in which ``ask`` names things or in reading order."""
    things = after.things
    if isinstance(ask, Request):
        needs = matched(ask, after)
        turn = {index: ask.needs[need] for index, need in needs.items()}
        things = tuple(things[index] for index in sorted(range(len(things)), key=lambda index: turn.get(index, len(things))))
    made = [thing.words for thing in things if before.at(thing.slot) != thing]
    cleared = [f"clear {cell_name(thing.slot)}" for thing in before.things if after.at(thing.slot) is None]
    return f"plan : {' , '.join(made + cleared) or 'none'} ."


def think_words(before: Scene, after: Scene | None, ask: Ask | None = None) -> str:
    """The thought before a picture: what is there already, then the plan; None for ``after`` says that nothing is left to draw.

    Before the plan of an edit stands what it is about, looked for thing by thing: to find that is one thing, to change it another.
    """
    seen = f"see : {things_words(before)} . " if before.things else ""
    if after is None:
        return seen + DONE
    meant = [thing.words for thing in before.things if after.at(thing.slot) != thing]
    found = f"{look_words(ask, before)}find : {' , '.join(meant)} . " if meant and isinstance(ask, Edit) else look_words(ask, before)
    return f"{seen}{found}{plan_words(before, after, ask)}"


def look_words(ask: Ask | None, scene: Scene, after: Scene | None = None) -> str:
    """What is wanted (``want_words``), and each thing held against that, one by one: what hangs on it is then read and not searched for.

    Behind a thing stand what it is nearest to, word for word, and whether it is that: of a request the first, second, third or last
    group, or what shall "not" be there; of an edit "this", which it is about, or the "other" thing that it names. With ``after`` follows
    what is there now and whether that is the same, and what is new.
    """
    if ask is None or not (scene.things or (after and after.things)):
        return ""
    if isinstance(ask, Request):
        words = [f"{thing.words} {_standing(ask, thing)}" for thing in scene.things]
    else:
        things = {thing.slot: thing for one in (after or scene, scene) for thing in one.things}
        words = [f"{things[slot].words} {_role(ask, slot, scene, after)}" for slot in sorted(things)]
    return f"{want_words(ask)}look : {' , '.join(words)} . "


def want_words(ask: Ask) -> str:
    """What is asked for in the words that things are told in, whatever words it came in: each thing is then held against the same
    three words, "any" for what is left open."""
    return f"want : {' , '.join(_scene_wanted(ask)) if isinstance(ask, Request) else _change_wanted(ask)} . "


def _scene_wanted(request: Request) -> list[str]:
    groups = [f"{_ordinal(index)} {group.count} {_kind_words(group.kind)}" for index, group in enumerate(request.groups)]
    relations = [_relation_words(relation) for relation in request.relations]
    return groups + relations + [f"not {_kind_words(kind)}" for kind in request.absent]


def _change_wanted(edit: Edit) -> str:
    words = [edit.verb, *(["every"] if edit.every else []), _kind_words(edit.kind)]
    if edit.value:
        words += ["to", edit.value]
    if edit.place is not None:
        words += ["to", cell_name(edit.place)]
    if edit.other is not None:
        words += [edit.relation or "with", _kind_words(edit.other)]
    return " ".join(words)


def _relation_words(relation: Relation) -> str:
    return f"{_ordinal(relation.first)} {relation.word} {_ordinal(relation.second)}"


def _ordinal(group: int) -> str:
    return _ORDINALS[min(group, 3)]


def _kind_words(kind: Kind) -> str:
    return " ".join(value or "any" for value in (kind.colour, kind.shape, kind.size))


_ORDINALS = ("first", "second", "third", "last")


def _standing(request: Request, thing: Thing) -> str:
    unwanted = next((kind for kind in request.absent if kind.fits(thing)), None)
    if unwanted is not None:
        return _held("not", unwanted, thing)
    return _nearest(thing, [(_ordinal(index), group.kind) for index, group in enumerate(request.groups)])


def _nearest(thing: Thing, kinds: list[tuple[str, Kind]]) -> str:
    return _held(*min(kinds, key=lambda kind: len(kind[1].misses(thing))), thing)


def _held(name: str, kind: Kind, thing: Thing) -> str:
    return f"{name} {_kind_words(kind)} {'yes' if kind.fits(thing) else 'no'}"


def _role(edit: Edit, slot: Slot, before: Scene, after: Scene | None) -> str:
    was, now = before.at(slot), after.at(slot) if after else None
    if was is None:
        return "new"
    role = _nearest(was, [("this", edit.kind), *([("other", edit.other)] if edit.other is not None else [])])
    if after is None:
        return role
    if now is None:
        return f"{role} gone"
    return f"{role} {_kind_words(exact(now))} {'same' if now == was else 'changed'}"


def _check_words(verdict: Verdict, ask: Ask | None) -> list[str]:
    """Clause by clause what holds. Of a request: what is of each group, how many of how many that is, whether relations hold, and what
    is there of what shall not be."""
    if not isinstance(ask, Request):
        return list(verdict.checks)
    found = [" ".join(map(cell_name, slots)) for slots in verdict.found]
    words = []
    for index, answer in enumerate(verdict.checks):
        if index < len(ask.groups):
            count = ask.groups[index].count
            parts = (_ordinal(index), found[index], answer, "of", str(count), "yes" if answer == str(count) else "no")
        elif index < len(ask.groups) + len(ask.relations):
            parts = (_relation_words(ask.relations[index - len(ask.groups)]), answer)
        else:
            parts = ("not", found[index], answer)
        words.append(" ".join(filter(None, parts)))
    return words


def planned(before: Scene, text: str) -> Scene | None:
    """The scene that a plan asks for; None where the words hold no plan."""
    match = _PLAN.search(" ".join(text.lower().split()))
    if match is None:
        return None
    scene = before
    for op in match["ops"].split(","):
        if op.split()[:1] == ["clear"] and (slot := _slot(op.split()[-1])):
            scene = scene.without(slot)
        elif thing := _THING.search(op):
            slot = _slot(thing[4])
            scene = scene.put(Thing(slot, thing[2], thing[1], thing[3])) if slot else scene
    return scene


def _slot(name: str) -> Slot | None:
    cell = cell_at(name)
    return cell if cell and max(cell) < SIDE else None


def done(thought: str) -> bool:
    """Whether a thought decides that nothing is left to draw."""
    return re.search(r"\bdone\b", thought) is not None


def verdict_words(
    verdict: Verdict, seen: Scene | None = None, repaired: Scene | None = None, was: Scene | None = None, ask: Ask | None = None
) -> str:
    """The verdict as the model gives it: what there ``was`` where something is changed, what it sees, what each thing is to what was
    asked (``look_words``), clause by clause what holds, the verdict, and the plan of the repair."""
    words = [f"{name} : {things_words(scene)} ." for name, scene in (("was", was), ("see", seen)) if scene is not None]
    if seen is not None and (look := look_words(ask, was, seen) if was is not None else look_words(ask, seen)):
        words.append(look.strip())
    words += [f"check : {' , '.join(_check_words(verdict, ask))} ."] if verdict.checks else []
    if verdict.ok:
        return " ".join((*words, "correct ."))
    place = f" at {cell_name(verdict.where)}" if verdict.where is not None else ""
    words.append(f"wrong . {FAULTS[verdict.fault or 'unreadable']}{place} .")
    return " ".join((*words, plan_words(seen, repaired) if seen is not None and repaired is not None else "")).strip()


def parse_verdict(text: str) -> tuple[bool, str | None, Slot | None]:
    """(ok, kind of fault, slot); words that are no verdict count as wrong without a named fault."""
    match = _VERDICT.search(" ".join(text.lower().split()))
    if match is None:
        return False, None, None
    return (True, None, None) if match["ok"] else (False, _KINDS[match["fault"]], _slot(match["slot"]) if match["slot"] else None)


def parse_things(text: str) -> Scene | None:
    """The scene that a description names; None where it names a slot twice."""
    try:
        return Scene.of(Thing(_slot(slot) or (0, 0), shape, colour, size) for colour, shape, size, slot in _THING.findall(text))
    except ValueError:
        return None


def asked(question: str, words: str) -> str:
    """The instruction for a question about a request in words."""
    return f"{INSTRUCTIONS[question]} {words}"


__all__ = ["DONE", "INSTRUCTIONS", "Ask", "asked", "describe_words", "done", "parse_things", "parse_verdict", "plan_words", "planned",
           "things_words", "think_words", "verdict_words"]  # fmt: skip
