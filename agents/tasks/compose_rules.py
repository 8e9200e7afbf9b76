"""What a request asks for, whether a scene has it, and what would repair it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from agents.tasks.scene import COLOURS, SHAPES, SIDE, SIZES, Scene, Slot, Thing

MOST = 6
"""Most things that a request may ask for."""

RELATIONS: dict[str, tuple[int, int]] = {"left": (1, -1), "right": (1, 1), "above": (0, -1), "below": (0, 1)}
"""Relation -> (axis of a slot, sign of first minus second)."""

FAULTS: dict[str, str] = {
    "unreadable": "unreadable",
    "stayed": "stayed",
    "changed": "changed",
    "colour": "wrong colour",
    "shape": "wrong shape",
    "size": "wrong size",
    "extra": "extra",
    "too_many": "too many",
    "too_few": "too few",
    "place": "wrong place",
}
"""Kind of fault -> its words, in the order in which they are looked for."""
_VALUES: dict[str, tuple[str, ...]] = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES}


USUAL: dict[str, str] = dict(zip(SHAPES, (*COLOURS,)[: len(SHAPES)], strict=True))
"""Shape -> its colour where a request leaves the colour open and the choice is ``FIRST``."""
_FROM_MIDDLE = sorted(product(range(SIDE), repeat=2), key=lambda slot: (sum((2 * at - SIDE + 1) ** 2 for at in slot), slot))


class _First(random.Random):
    """Takes the first of all that may be taken, so that a request has one plan: what is always the same is soon learnt."""

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def sample(self, population: Any, k: int, **_: Any) -> list[Any]:
        return list(population)[:k]

    def random(self) -> float:
        return 1.0


FIRST: random.Random = _First()


def shuffled(rng: random.Random, slots: Iterable[Slot]) -> list[Slot]:
    """Slots in random order; for ``FIRST`` from the middle outwards."""
    free = set(slots)
    return rng.sample([slot for slot in _FROM_MIDDLE if slot in free], len(free))


@dataclass(frozen=True)
class Kind:
    """What a thing has to be; None is any."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None

    def fits(self, thing: Thing) -> bool:
        return self.misses(thing) == ()

    def misses(self, thing: Thing) -> tuple[str, ...]:
        """Names of the attributes in which a thing is not of this kind."""
        pairs = {"shape": (self.shape, thing.shape), "colour": (self.colour, thing.colour), "size": (self.size, thing.size)}
        return tuple(name for name, (wanted, is_) in pairs.items() if wanted is not None and wanted != is_)

    def meets(self, other: Kind) -> bool:
        """Whether one thing could be of both kinds."""
        pairs = ((self.shape, other.shape), (self.colour, other.colour), (self.size, other.size))
        return all(one is None or two is None or one == two for one, two in pairs)


@dataclass(frozen=True)
class Group:
    """So many things of a kind."""

    count: int
    kind: Kind


@dataclass(frozen=True)
class Relation:
    """Every thing of the group ``first`` stands ``word`` of every thing of the group ``second``."""

    first: int
    word: str
    second: int


@dataclass(frozen=True)
class Request:
    """A whole scene that is asked for: exactly these things, no others, none of the ``absent`` kinds."""

    groups: tuple[Group, ...]
    relations: tuple[Relation, ...] = ()
    absent: tuple[Kind, ...] = ()

    @property
    def key(self) -> str:
        """What is asked, whatever the words and the order: splits go by it."""
        groups = sorted(f"{g.count} {g.kind.size} {g.kind.colour} {g.kind.shape}" for g in self.groups)
        names = [f"{g.count} {g.kind.size} {g.kind.colour} {g.kind.shape}" for g in self.groups]
        turned = {"right": "left", "below": "above"}
        relations = sorted(
            f"{names[r.second]} {turned[r.word]} {names[r.first]}" if r.word in turned else f"{names[r.first]} {r.word} {names[r.second]}"
            for r in self.relations
        )
        return f"{groups} {relations} {sorted(map(str, self.absent))}"

    @property
    def needs(self) -> tuple[int, ...]:
        """The group of every thing that has to be there."""
        return tuple(index for index, group in enumerate(self.groups) for _ in range(group.count))

    def allows(self, thing: Thing) -> bool:
        return not any(kind.fits(thing) for kind in self.absent)

    def fits(self, group: int, thing: Thing) -> bool:
        return self.groups[group].kind.fits(thing) and self.allows(thing)


@dataclass(frozen=True)
class Verdict:
    """Is a scene what was asked for? ``checks`` answers clause by clause: things found of each group, then relations, then absent kinds.

    ``found`` are the slots of what each of them counts.
    """

    ok: bool
    fault: str | None = None
    where: Slot | None = None
    checks: tuple[str, ...] = ()
    found: tuple[tuple[Slot, ...], ...] = ()


def matched(request: Request, scene: Scene) -> dict[int, int]:
    """A largest assignment of the scene's things (by index) to the request's needs (by index)."""
    needs, owner = request.needs, dict[int, int]()

    def place(thing: int, tried: set[int]) -> bool:
        for need, group in enumerate(needs):
            if need not in tried and request.fits(group, scene.things[thing]):
                tried.add(need)
                if need not in owner or place(owner[need], tried):
                    owner[need] = thing
                    return True
        return False

    for thing in range(len(scene.things)):
        place(thing, set())
    return {thing: need for need, thing in owner.items()}


def holds(relation: Relation, first: Iterable[Slot], second: Iterable[Slot]) -> bool:
    axis, sign = RELATIONS[relation.word]
    return all((one[axis] - two[axis]) * sign > 0 for one, two in product(first, second))


def _slots(request: Request, scene: Scene, found: dict[int, int]) -> list[list[Slot]]:
    """The slots of the things that stand for each group."""
    rows: list[list[Slot]] = [[] for _ in request.groups]
    for thing, need in sorted(found.items()):
        rows[request.needs[need]].append(scene.things[thing].slot)
    return rows


def judge(request: Request, before: Scene, after: Scene) -> Verdict:
    """Does ``after`` show what is asked for? The first fault in the order of FAULTS, and its slot (None where nothing is there)."""
    found = matched(request, after)
    slots = _slots(request, after, found)
    held = [holds(r, slots[r.first], slots[r.second]) for r in request.relations]
    counted = (
        *(tuple(thing.slot for thing in after.things if request.fits(index, thing)) for index in range(len(request.groups))),
        *(() for _ in held),
        *(tuple(thing.slot for thing in after.things if kind.fits(thing)) for kind in request.absent),
    )
    answers = {len(request.groups) + index: "yes" if ok else "no" for index, ok in enumerate(held)}
    checks = tuple(answers.get(index, str(len(counted[index]))) for index in range(len(counted)))
    fault, where = _counted(request, after, found)
    if fault is None and not all(held):
        relation = request.relations[held.index(False)]
        fault, where = "place", next(s for s in slots[relation.first] if not holds(relation, [s], slots[relation.second]))
    if fault is not None and after == before:
        fault, where = "stayed", None
    return Verdict(fault is None, fault, where, checks, counted)


def _counted(request: Request, scene: Scene, found: dict[int, int]) -> tuple[str | None, Slot | None]:
    """What is wrong with the things themselves, wherever they stand."""
    needs = request.needs
    unmet = [needs[need] for need in range(len(needs)) if need not in found.values()]
    loose = [thing for index, thing in enumerate(scene.things) if index not in found]
    near = [(thing, set(_cures(request, group, thing))) for thing in loose for group in unmet]
    for name in _VALUES:
        for thing, cures in near:
            if name in cures:
                return name, thing.slot
    if loose:
        many = [thing for thing in loose if any(request.fits(group, thing) for group in range(len(request.groups)))]
        return ("extra", next(t for t in loose if t not in many).slot) if len(many) < len(loose) else ("too_many", many[-1].slot)
    return ("too_few", None) if unmet else (None, None)


def _cures(request: Request, group: int, thing: Thing) -> dict[str, list[Thing]]:
    """What a thing that cannot stand for a group can become by a change of one attribute so that it can."""
    kind = request.groups[group].kind
    missed = kind.misses(thing)
    if len(missed) > 1:
        return {}
    cures = {name: [replace(thing, **{name: value}) for value in _VALUES[name]] for name in _VALUES if not missed or name in missed}
    fitting = {name: [made for made in things if request.fits(group, made)] for name, things in cures.items()}
    return {name: things for name, things in fitting.items() if things}


def choose(rng: random.Random, request: Request, group: int, slot: Slot) -> Thing:
    """A thing that may stand for a group; what the request leaves open is drawn at random."""
    others = [other.kind for index, other in enumerate(request.groups) if index != group]
    allowed = [thing for thing in things_of(rng, request.groups[group].kind, slot) if request.allows(thing)]
    apart = [thing for thing in allowed if not any(other.fits(thing) for other in others)]
    return (apart or allowed)[0]


def things_of(rng: random.Random, kind: Kind, slot: Slot) -> list[Thing]:
    """All things of a kind, in random order; for ``FIRST`` large before small ones, and in the usual colour first."""
    shapes = (kind.shape,) if kind.shape else rng.sample(SHAPES, len(SHAPES))
    colours = (kind.colour,) if kind.colour else rng.sample(list(COLOURS), len(COLOURS))
    sizes = (kind.size,) if kind.size else SIZES if rng.random() < 1 / 3 else SIZES[::-1]
    things = [Thing(slot, shape, colour, size) for size in sizes for shape in shapes for colour in colours]
    return sorted(things, key=lambda thing: thing.colour != USUAL[thing.shape]) if rng is FIRST and not kind.colour else things


def layout(rng: random.Random, request: Request, kept: Scene = Scene()) -> Scene | None:
    """A scene that has what is asked for, ``kept`` things where they are; None where none was found."""
    found = matched(request, kept)
    missing = [group for need, group in enumerate(request.needs) if need not in found.values()]
    for _ in range(0 if rng is FIRST else 400):
        scene = kept
        for group, slot in zip(missing, rng.sample(kept.free, len(missing)), strict=True):
            scene = scene.put(choose(rng, request, group, slot))
        if judge(request, Scene(), scene).ok:
            return scene
    places = _places(rng, request, kept, missing)
    for _ in range(0 if places is None else 20):
        scene = kept.put(*(choose(rng, request, group, slot) for group, slot in places or ()))
        if judge(request, Scene(), scene).ok:
            return scene
    return None


def _places(rng: random.Random, request: Request, kept: Scene, missing: list[int]) -> list[tuple[int, Slot]] | None:
    """(group, slot) for every missing thing so that all relations hold, found by trying all; None where there is none."""
    related = {group for relation in request.relations for group in (relation.first, relation.second)}
    order = sorted(missing, key=lambda group: (group not in related, group))
    start = [(group, slot) for group, slots in enumerate(_slots(request, kept, matched(request, kept))) for slot in slots]

    def fits(group: int, slot: Slot, placed: list[tuple[int, Slot]]) -> bool:
        return all(
            holds(relation, [slot], [other])
            if (relation.first, relation.second) == (group, its)
            else (relation.first, relation.second) != (its, group) or holds(relation, [other], [slot])
            for relation in request.relations
            for its, other in placed
        )

    def place(left: list[int], placed: list[tuple[int, Slot]]) -> list[tuple[int, Slot]] | None:
        if not left:
            return placed
        taken = {slot for _, slot in placed}
        for slot in shuffled(rng, kept.free):
            if slot not in taken and fits(left[0], slot, placed) and (found := place(left[1:], [*placed, (left[0], slot)])):
                return found
        return None

    found = place(order, start)
    return found[len(start) :] if found else None


def repaired(rng: random.Random, request: Request, scene: Scene) -> Scene | None:
    """The scene with everything mended that is not as asked, the rest where it is."""
    found, needs = matched(request, scene), request.needs
    unmet = [needs[need] for need in range(len(needs)) if need not in found.values()]
    kept = scene
    for index, thing in enumerate(scene.things):
        if index in found:
            continue
        close = [(group, cures) for group in unmet if (cures := _cures(request, group, thing))]
        kept = kept.without(thing.slot)
        if close:
            group, cures = close[0]
            unmet.remove(group)
            kept = kept.put(rng.choice(next(iter(cures.values()))))
    for _ in range(MOST):
        scene_or = layout(rng, request, kept)
        if scene_or is not None:
            return scene_or
        verdict = judge(request, Scene(), kept)
        loose = verdict.where if verdict.fault == "place" else (rng.choice(kept.things).slot if kept.things else None)
        if loose is None:
            return None
        kept = kept.without(loose)
    return layout(rng, request)


def differences(before: Scene, after: Scene) -> tuple[Slot, ...]:
    """Slots that do not show the same, in reading order."""
    return tuple(slot for slot in product(range(SIDE), repeat=2) if before.at(slot) != after.at(slot))
