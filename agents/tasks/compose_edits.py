"""Changes to a scene that are asked for: what has to stay, what has to come, and whether it did."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from agents.tasks.compose_rules import Kind, Verdict, holds, shuffled, things_of
from agents.tasks.compose_rules import Relation as _Relation
from agents.tasks.scene import SIDE, Scene, Slot, Thing

Verb = Literal["add", "remove", "recolour", "resize", "move", "swap"]
VERBS: tuple[Verb, ...] = ("add", "remove", "recolour", "resize", "move", "swap")

_LAST = SIDE - 1
CORNERS: dict[str, Slot] = {"top left": (0, 0), "top right": (0, _LAST), "bottom left": (_LAST, 0), "bottom right": (_LAST, _LAST)}


def corner_of(place: Slot) -> str | None:
    """The name of a corner; None where the place is none."""
    return next((name for name, slot in CORNERS.items() if slot == place), None)


@dataclass(frozen=True)
class Edit:
    """One change: ``kind`` is what to add, or the thing to change; ``value`` its new colour or size.

    ``place`` is where it goes, or ``relation`` and ``other`` say it ("left" of the star); ``other`` is also what it is swapped
    with. ``every`` changes all things of the kind.
    """

    verb: Verb
    kind: Kind
    value: str = ""
    place: Slot | None = None
    relation: str = ""
    other: Kind | None = None
    every: bool = False

    @property
    def key(self) -> str:
        """What is asked, whatever the words: splits go by it."""
        if self.verb == "swap" and self.other is not None and repr(self.other) < repr(self.kind):
            return repr(replace(self, kind=self.other, other=self.kind))
        return repr(self)


@dataclass(frozen=True)
class Need:
    """A thing that has to be there afterwards, and the slots that it may be in."""

    kind: Kind
    slots: frozenset[Slot]


@dataclass(frozen=True)
class Wanted:
    """What an edit makes of a scene: ``fixed`` things as they were, and ``needs`` beside them."""

    fixed: Scene
    needs: tuple[Need, ...]


def exact(thing: Thing) -> Kind:
    return Kind(thing.shape, thing.colour, thing.size)


def wanted(edit: Edit, scene: Scene) -> Wanted | str:
    """What the edit makes of a scene; where it cannot be done, the reason in words."""
    hits = [thing for thing in scene.things if edit.kind.fits(thing)]
    if edit.verb == "add":
        slots = _allowed(edit, scene, scene)
        return Wanted(scene, (Need(edit.kind, slots),)) if slots else "there is no room for it"
    if not hits:
        return "it is not in the picture"
    if len(hits) > 1 and not (edit.every and edit.verb in ("remove", "recolour", "resize")):
        return "there are several of them"
    fixed = scene.without(*(thing.slot for thing in hits))
    if edit.verb == "remove":
        return Wanted(fixed, ())
    if edit.verb in ("recolour", "resize"):
        name = "colour" if edit.verb == "recolour" else "size"
        made = [replace(thing, **{name: edit.value}) for thing in hits]
        return Wanted(fixed, tuple(Need(exact(thing), frozenset({thing.slot})) for thing in made))
    if edit.verb == "move":
        slots = _allowed(edit, scene, fixed) - {hits[0].slot}
        return Wanted(fixed, (Need(exact(hits[0]), slots),)) if slots else "there is no room for it there"
    others = [thing for thing in fixed.things if edit.other is not None and edit.other.fits(thing)]
    if len(others) != 1:
        return "there are several of them" if others else "it is not in the picture"
    pair = (hits[0], others[0])
    needs = tuple(Need(exact(one), frozenset({two.slot})) for one, two in (pair, pair[::-1]))
    return Wanted(fixed.without(others[0].slot), needs)


def _allowed(edit: Edit, scene: Scene, fixed: Scene) -> frozenset[Slot]:
    """Free slots where the edit's thing may go."""
    free = frozenset(fixed.free)
    if edit.place is not None:
        return free & {edit.place}
    if not edit.relation or edit.other is None:
        return free
    beside = [thing.slot for thing in fixed.things if edit.other.fits(thing)]
    relation = _Relation(0, edit.relation, 1)
    return frozenset(slot for slot in free if beside and holds(relation, [slot], beside))


def judge_edit(edit: Edit, before: Scene, after: Scene) -> Verdict:
    """Did the edit happen, and nothing else? An edit that cannot be done is right where nothing changed."""
    goal = wanted(edit, before)
    if isinstance(goal, str):
        return Verdict(True, checks=("no",)) if before == after else Verdict(False, "changed", _first_change(before, after), ("no",))
    fault, where = _fault(goal, before, after)
    if fault is not None and after == before:
        fault, where = "stayed", None
    return Verdict(fault is None, fault, where, ("no" if fault else "yes",))


def _first_change(before: Scene, after: Scene) -> Slot:
    return next(slot for slot in product(range(SIDE), repeat=2) if before.at(slot) != after.at(slot))


def _fault(goal: Wanted, before: Scene, after: Scene) -> tuple[str | None, Slot | None]:
    for thing in goal.fixed.things:
        if after.at(thing.slot) != thing:
            return "changed", thing.slot
    new = [thing for thing in after.things if goal.fixed.at(thing.slot) is None]
    unmet = list(goal.needs)
    for thing in list(new):
        if (need := next((n for n in unmet if n.kind.fits(thing) and thing.slot in n.slots), None)) is not None:
            new.remove(thing)
            unmet.remove(need)
    for name in ("colour", "shape", "size"):
        for thing in new:
            if any(thing.slot in need.slots and need.kind.misses(thing) == (name,) for need in unmet):
                return name, thing.slot
    for thing in new:
        if any(need.kind.fits(thing) for need in unmet):
            return "place", thing.slot
    if new:
        known = [thing for thing in new if before.at(thing.slot) == thing]
        return ("too_many", known[0].slot) if len(known) == len(new) else ("extra", next(t for t in new if t not in known).slot)
    return ("too_few", None) if unmet else (None, None)


def edited(rng: random.Random, edit: Edit, scene: Scene) -> Scene | None:
    """The scene after the edit; what it leaves open is drawn at random. None where it cannot be done."""
    goal = wanted(edit, scene)
    if isinstance(goal, str):
        return None
    made, taken = goal.fixed, set[Slot]()
    for need in goal.needs:
        slot = shuffled(rng, need.slots - taken)[0]
        taken.add(slot)
        made = made.put(things_of(rng, need.kind, slot)[0])
    return made


def mended(rng: random.Random, edit: Edit, before: Scene, after: Scene) -> Scene | None:
    """What ``after`` has to become: everything as the edit wants it, things that are right already left where they are."""
    goal = wanted(edit, before)
    if isinstance(goal, str):
        return before
    made, unmet = goal.fixed, list(goal.needs)
    for thing in after.things:
        need = next((n for n in unmet if n.kind.fits(thing) and thing.slot in n.slots), None)
        if made.at(thing.slot) is None and need is not None:
            made = made.put(thing)
            unmet.remove(need)
    for need in unmet:
        near = [t for t in after.things if t.slot in need.slots and made.at(t.slot) is None and len(need.kind.misses(t)) == 1]
        slots = shuffled(rng, (slot for slot in need.slots if made.at(slot) is None))
        if not slots:
            return None
        old = near[0] if near else things_of(rng, need.kind, slots[0])[0]
        kind = need.kind
        made = made.put(Thing(old.slot, kind.shape or old.shape, kind.colour or old.colour, kind.size or old.size))
    return made
