"""How a thing is held against what is wanted, word for word: thoughts and verdicts about scenes tell it step by step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from agents.tasks.compose_asks import Ask
from agents.tasks.compose_edits import Edit, Need, exact, wanted
from agents.tasks.compose_rules import Kind, Relation, Request
from agents.tasks.maze_words import cell_name
from agents.tasks.scene import Scene, Slot, Thing

ORDINALS = ("first", "second", "third", "last")
UNCLEAR = "unreadable"
_NEAR = 2
"""Words in which a thing differs from a kind that ends the comparison: with one it can still be the thing that was meant."""


def things_words(scene: Scene, unclear: Collection[Slot] = ()) -> str:
    """All things in reading order, slots that hold something without a name among them; "none" for an empty sheet."""
    told = {thing.slot: thing.words for thing in scene.things} | _unclear_words(unclear)
    return " , ".join(told[slot] for slot in sorted(told)) or "none"


def changes_words(before: Scene, after: Scene, unclear: Collection[Slot] = ()) -> str:
    """Two scenes in one list, slot by slot: what was there and is the "same", "changed" to what is there now, or "gone"; what is "new";
    slots that now hold something without a name."""
    slots = {thing.slot for scene in (before, after) for thing in scene.things}
    told = {slot: _change(before.at(slot), after.at(slot)) for slot in slots} | _unclear_words(unclear)
    return " , ".join(told[slot] for slot in sorted(told)) or "none"


def _unclear_words(slots: Collection[Slot]) -> dict[Slot, str]:
    return {slot: f"{UNCLEAR} {cell_name(slot)}" for slot in slots}


def _change(was: Thing | None, now: Thing | None) -> str:
    if was is None:
        return f"{now.words} new" if now else ""
    told = _status(was, now)
    return f"{was.words} {told} {_kind_words(exact(now))}" if now and told == "changed" else f"{was.words} {told}"


def _status(was: Thing, now: Thing | None) -> str:
    return "same" if now == was else "gone" if now is None else "changed"


def want_words(ask: Ask) -> str:
    """What is asked for in the words that things are told in, whatever words it came in: each thing is then held against the same
    three words, "any" for what is left open."""
    return f"want : {' , '.join(_scene_wanted(ask)) if isinstance(ask, Request) else _change_wanted(ask)} . "


def _scene_wanted(request: Request) -> list[str]:
    groups = [f"{ordinal(index)} {group.count} {_kind_words(group.kind)}" for index, group in enumerate(request.groups)]
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
    return f"{ordinal(relation.first)} {relation.word} {ordinal(relation.second)}"


def ordinal(group: int) -> str:
    return ORDINALS[min(group, 3)]


def _kind_words(kind: Kind) -> str:
    return " ".join(value or "any" for value in (kind.colour, kind.shape, kind.size))


def look_words(ask: Ask | None, scene: Scene, after: Scene | None = None, unclear: Collection[Slot] = ()) -> str:
    """What is wanted (``want_words``), and each thing held against that: what hangs on it is then read and not searched for.

    Of a request against what shall "not" be there and against its groups in turn, up to the one that it is of; of an edit against what
    that is about ("this") and the "other" thing that it names. Each word of what is wanted stands beside the thing's own; behind two
    that differ, what it is that differs, "yes" behind all that are alike, and which one of its group a thing is. With ``after`` follows
    whether the thing is the same, changed or gone, or its slot unclear.
    """
    if ask is None or not scene.things:
        return want_words(ask) if ask is not None and after is not None else ""
    lines = [" ".join((cell_name(thing.slot), *held)) for thing, held in zip(scene.things, _held_all(ask, scene), strict=True)]
    if after is not None:
        now = [UNCLEAR if thing.slot in unclear else _status(thing, after.at(thing.slot)) for thing in scene.things]
        lines = [f"{line} {status}" for line, status in zip(lines, now, strict=True)]
    return f"{want_words(ask)}look : {' , '.join(lines)} . "


def _held_all(ask: Ask, scene: Scene) -> list[list[str]]:
    lines = [_held(ask, thing) for thing in scene.things]
    if isinstance(ask, Edit):
        return lines
    counts: dict[str, int] = {}
    for line in lines:
        if line and line[-1] == "yes":
            group = [word for word in line if word in ("not", *ORDINALS)][-1]
            counts[group] = counts.get(group, 0) + 1
            line += [group, str(counts[group])]
    return lines


def _held(ask: Ask, thing: Thing) -> list[str]:
    if isinstance(ask, Request):
        against = [("not", kind, 1) for kind in ask.absent] + [(ordinal(i), group.kind, _NEAR) for i, group in enumerate(ask.groups)]
    else:
        against = [("this", ask.kind, 1)] if ask.verb != "add" else []
        against += [("other", ask.other, 1)] if ask.other is not None else []
    return _until_yes([name, *_pairs(kind, thing, most)] for name, kind, most in against)


def _pairs(kind: Kind, thing: Thing, most: int) -> list[str]:
    """Word by word what is wanted and what is there, until ``most`` of them differ, each followed by what it is that differs; "yes" where
    none did."""
    words, missed = list[str](), 0
    for what in ("colour", "shape", "size"):
        want, is_ = getattr(kind, what), getattr(thing, what)
        words += [want, is_] if want else ["any"]
        if want not in (None, is_):
            words.append(what)
            missed += 1
        if missed == most:
            return words
    return words if missed else [*words, "yes"]


def _until_yes(comparisons: Iterable[list[str]]) -> list[str]:
    words: list[str] = []
    for comparison in comparisons:
        words += comparison
        if words[-1] == "yes":
            break
    return words


def goal_words(ask: Ask | None, before: Scene, after: Scene) -> str:
    """What an edit makes of what it is about, and whatever is there that was not there to stay held against that, place and all."""
    if not isinstance(ask, Edit):
        return ""
    goal = wanted(ask, before)
    if isinstance(goal, str):
        return "goal : none . "
    beside = next((thing.slot for thing in goal.fixed.things if ask.relation and ask.other is not None and ask.other.fits(thing)), None)
    told = [" ".join((ordinal(i), *_place(ask, need, beside), _kind_words(need.kind))) for i, need in enumerate(goal.needs)]
    loose = [thing for thing in after.things if goal.fixed.at(thing.slot) is None]
    lines = [" ".join((cell_name(thing.slot), *(_meeting(ask, goal.needs, beside, thing) or ["none"]))) for thing in loose]
    return f"goal : {' , '.join(told) or 'none'} . now : {' , '.join(lines) or 'none'} . "


def _place(edit: Edit, need: Need, beside: Slot | None) -> list[str]:
    """Where a thing has to be: a slot, or a relation and the slot that it is to; nothing where it may be anywhere."""
    if beside is not None:
        return [edit.relation, cell_name(beside)]
    return [cell_name(slot) for slot in need.slots] if len(need.slots) == 1 else []


def _meeting(edit: Edit, needs: Sequence[Need], beside: Slot | None, thing: Thing) -> list[str]:
    def comparison(index: int, need: Need) -> list[str]:
        place, at = _place(edit, need, beside), cell_name(thing.slot)
        if not place:
            return [ordinal(index), *_pairs(need.kind, thing, _NEAR)]
        if thing.slot in need.slots:
            return [ordinal(index), *place, at, *_pairs(need.kind, thing, _NEAR)]
        rest = _pairs(need.kind, thing, _NEAR - 1)
        return [ordinal(index), *place, at, "no", *(rest[:-1] if rest[-1] == "yes" else rest)]

    return _until_yes(comparison(index, need) for index, need in enumerate(needs))
