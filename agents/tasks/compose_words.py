"""Scenes in words: plans, descriptions and verdicts as the model says them, and how what it says is read again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import product

from agents.tasks.compose_asks import Ask
from agents.tasks.compose_edits import Edit
from agents.tasks.compose_looks import changes_words, goal_words, look_words, ordinal, things_words
from agents.tasks.compose_rules import FAULTS, Relation, Request, Verdict, holds, matched
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
PLAN = re.compile(r"\bplan : (?P<ops>[^.]*)\.")
_VERDICT = re.compile(rf"\b(?:(?P<ok>correct)|wrong \. (?P<fault>{'|'.join(FAULTS.values())})(?: at (?P<slot>[a-d][1-4]))?) \.")


def describe_words(scene: Scene) -> str:
    return f"{things_words(scene)} ."


def plan_words(before: Scene, after: Scene, ask: Ask | None = None, unclear: Collection[Slot] = ()) -> str:
    """What has to be drawn and cleared to get from one scene to another: in the order in which ``ask`` names things or in reading order.

    ``unclear`` slots hold something without a name, which has to go.
    """
    things = after.things
    if isinstance(ask, Request):
        needs = matched(ask, after)
        turn = {index: ask.needs[need] for index, need in needs.items()}
        things = tuple(things[index] for index in sorted(range(len(things)), key=lambda index: turn.get(index, len(things))))
    made = [thing.words for thing in things if before.at(thing.slot) != thing]
    taken = sorted({*(thing.slot for thing in before.things), *unclear})
    cleared = [f"clear {cell_name(slot)}" for slot in taken if after.at(slot) is None]
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


def check_words(verdict: Verdict, ask: Ask | None) -> list[str]:
    """Clause by clause what holds. Of a request: how many of how many of each group, how the things of a relation stand to each other, up
    to the first two that do not as they should, and how much is there of what shall not be."""
    if not isinstance(ask, Request):
        return list(verdict.checks)
    words = []
    for index, answer in enumerate(verdict.checks):
        if index < len(ask.groups):
            count = ask.groups[index].count
            words.append(f"{ordinal(index)} {answer} of {count} {'yes' if answer == str(count) else 'no'}")
        elif index < len(ask.groups) + len(ask.relations):
            relation = ask.relations[index - len(ask.groups)]
            words += _pair_words(relation, verdict.found[relation.first], verdict.found[relation.second])
        else:
            words.append(f"not {answer}")
    return words


def _pair_words(relation: Relation, first: Iterable[Slot], second: Iterable[Slot]) -> list[str]:
    words = []
    for one, two in product(first, second):
        words.append(f"{cell_name(one)} {relation.word} {cell_name(two)} {'yes' if holds(relation, [one], [two]) else 'no'}")
        if words[-1].endswith("no"):
            break
    return words


def planned(before: Scene, text: str) -> Scene | None:
    """The scene that a plan asks for; None where the words hold no plan."""
    match = PLAN.search(" ".join(text.lower().split()))
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
    verdict: Verdict, seen: Scene | None = None, repaired: Scene | None = None, was: Scene | None = None, ask: Ask | None = None,
    unclear: Collection[Slot] = (),
) -> str:
    """The verdict as the model gives it: what it sees, beside what there ``was`` where something is changed, what each thing is to what was
    asked, clause by clause what holds, the verdict, and the plan of the repair."""
    words = []
    if seen is not None:
        words.append(f"see : {things_words(seen, unclear) if was is None else changes_words(was, seen, unclear)} .")
        told = look_words(ask, seen) if was is None else f"{look_words(ask, was, seen, unclear)}{goal_words(ask, was, seen)}"
        words.append(told.strip())
    words += [f"check : {' , '.join(check_words(verdict, ask))} ."] if verdict.checks else []
    if verdict.ok:
        return " ".join(filter(None, (*words, "correct .")))
    place = f" at {cell_name(verdict.where)}" if verdict.where is not None else ""
    words.append(f"wrong . {FAULTS[verdict.fault or 'unreadable']}{place} .")
    words.append(plan_words(seen, repaired, None, unclear) if seen is not None and repaired is not None else "")
    return " ".join(filter(None, words))


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
