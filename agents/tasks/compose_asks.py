"""Random requests and edits, by category, split by what is asked."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace

from agents.tasks.compose_edits import CORNERS, VERBS, Edit, Verb, edited, judge_edit, mended
from agents.tasks.compose_rules import RELATIONS, Group, Kind, Relation, Request, Verdict, judge, layout, repaired
from agents.tasks.scene import COLOURS, SHAPES, SIZES, Scene, Slot, Thing

Ask = Request | Edit

CATEGORIES = ("single", "two", "counting", "colours", "position", "attribution", "mixed")
"""The six categories of GenEval, and harder mixtures of them."""
GROUPS = (*CATEGORIES, "edit")
SPLITS = ("train", "val", "test")


def split_of(ask: Ask) -> str:
    """A tenth of all combinations of attributes is for testing, a tenth for validation; the words do not matter."""
    digit = int.from_bytes(hashlib.sha256(f"compose:{ask.key}".encode()).digest()[:4], "big") % 10
    return {0: "test", 1: "val"}.get(digit, "train")


def judged(ask: Ask, before: Scene, after: Scene) -> Verdict:
    return judge(ask, before, after) if isinstance(ask, Request) else judge_edit(ask, before, after)


def compared(ask: Ask, before: Scene) -> Scene | None:
    """What a verdict has to compare with: the scene that an edit is about."""
    return before if isinstance(ask, Edit) else None


def solved(rng: random.Random, ask: Ask, before: Scene) -> Scene | None:
    """A scene that is as asked; None where there is none. A request keeps what is right already."""
    if isinstance(ask, Edit):
        return edited(rng, ask, before)
    return repaired(rng, ask, before) if before.things else layout(rng, ask)


def mend(rng: random.Random, ask: Ask, before: Scene, after: Scene) -> Scene | None:
    """``after`` with everything put right that is wrong in it."""
    return repaired(rng, ask, after) if isinstance(ask, Request) else mended(rng, ask, before, after)


def random_thing(rng: random.Random, slot: Slot) -> Thing:
    return Thing(slot, rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choices(SIZES, (1, 2))[0])


def random_scene(rng: random.Random, least: int = 0, most: int = 6) -> Scene:
    return Scene.of(random_thing(rng, slot) for slot in rng.sample(Scene().free, rng.randint(least, most)))


def random_request(rng: random.Random, category: str) -> Request:
    """A request of a category that can be fulfilled."""
    while True:
        request = _REQUESTS[category](rng)
        kinds = [group.kind for group in request.groups]
        apart = all(not kinds[i].meets(kinds[j]) for i in range(len(kinds)) for j in range(i))
        things = [Thing((0, 0), kind.shape or "", kind.colour or "", kind.size or "") for kind in kinds]
        possible = all(request.allows(thing) for thing in things)
        if apart and possible and sum(group.count for group in request.groups) <= 6 and layout(rng, request) is not None:
            return request


def _some(rng: random.Random, colour: float, size: float, shape: float = 1.0) -> Kind:
    return Kind(
        rng.choice(SHAPES) if rng.random() < shape else None, rng.choice(list(COLOURS)) if rng.random() < colour else None,
        rng.choice(SIZES) if rng.random() < size else None,
    )  # fmt: skip


def _one(colour: float, size: float, least: int = 1, most: int = 1) -> Callable[[random.Random], Request]:
    return lambda rng: Request((Group(rng.randint(least, most), _some(rng, colour, size)),))


def _two(rng: random.Random, colour: float, size: float = 0.1, relate: bool = False) -> Request:
    groups = (Group(1, _some(rng, colour, size)), Group(1, _some(rng, colour, size)))
    return Request(groups, (Relation(0, rng.choice(list(RELATIONS)), 1),) if relate else ())


def _mixed(rng: random.Random) -> Request:
    count = rng.choices((1, 2, 3, 4), (1, 4, 4, 1))[0]
    groups = tuple(Group(rng.choices((1, 2, 3, 4), (5, 3, 2, 1))[0], _some(rng, 0.7, 0.25, 0.93)) for _ in range(count))
    groups = tuple(g if g.kind != Kind() else replace(g, kind=Kind(rng.choice(SHAPES))) for g in groups)
    relations: tuple[Relation, ...] = ()
    if count > 1 and rng.random() < 0.6:
        relations = (Relation(0, rng.choice(list(RELATIONS)), 1),)
        if count > 2 and rng.random() < 0.3:
            relations += (Relation(1, rng.choice(list(RELATIONS)), 2),)
    absent: tuple[Kind, ...] = ()
    if rng.random() < 0.35:
        absent = (Kind(colour=rng.choice(list(COLOURS))) if rng.random() < 0.6 else Kind(rng.choice(SHAPES)),)
    return Request(groups, relations, absent)


_REQUESTS: dict[str, Callable[[random.Random], Request]] = {
    "single": _one(0.0, 0.5),
    "two": lambda rng: _two(rng, 0.0, 0.25),
    "counting": _one(0.35, 0.2, 2, 6),
    "colours": _one(1.0, 0.4),
    "position": lambda rng: _two(rng, 0.3, 0.1, relate=True),
    "attribution": lambda rng: _two(rng, 1.0, 0.15),
    "mixed": _mixed,
}


def random_edit(rng: random.Random, scene: Scene, verb: Verb | None = None) -> Edit | None:
    """An edit that can be done to the scene; None where this try gave none."""
    verb = verb or rng.choice(VERBS)
    thing = rng.choice(scene.things) if scene.things else None
    if verb == "add":
        shape = rng.choice(SHAPES)
        colour = rng.choice(list(COLOURS)) if rng.random() < 0.85 else None
        kind = Kind(shape, colour, rng.choice(SIZES) if rng.random() < 0.3 else None)
        edit = _placed(rng, Edit("add", kind), scene, None, 0.5)
        return edit if edit and edited(rng, edit, scene) and not any(kind.fits(t) for t in scene.things) else None
    if thing is None:
        return None
    every = verb in ("remove", "recolour", "resize") and rng.random() < 0.15
    kind = _naming(rng, scene, thing, every)
    if kind is None:
        return None
    edit = _changed(rng, verb, Edit(verb, kind, every=every), scene, thing)
    return edit if edit is not None and edited(rng, edit, scene) not in (None, scene) else None


def _changed(rng: random.Random, verb: Verb, edit: Edit, scene: Scene, thing: Thing) -> Edit | None:
    if verb == "recolour":
        return replace(edit, value=rng.choice([colour for colour in COLOURS if colour != thing.colour]))
    if verb == "resize":
        return replace(edit, value=next(size for size in SIZES if size != thing.size))
    if verb == "move":
        return _placed(rng, edit, scene, thing, 1.0)
    if verb == "swap":
        others = [other for other in scene.things if other != thing and not edit.kind.fits(other)]
        other = _naming(rng, scene, rng.choice(others), False) if others else None
        return replace(edit, other=other) if other else None
    return edit


def _placed(rng: random.Random, edit: Edit, scene: Scene, thing: Thing | None, chance: float) -> Edit | None:
    """The edit with a place to go to: a corner, a slot by name, or beside another thing."""
    if rng.random() > chance:
        return edit
    way = rng.random()
    if way < 0.5:
        slots = [slot for slot in (CORNERS.values() if way < 0.3 else scene.free) if slot in scene.free]
        return replace(edit, place=rng.choice(list(slots))) if slots else None
    others = [other for other in scene.things if other != thing and not edit.kind.fits(other)]
    other = _naming(rng, scene, rng.choice(others), False) if others else None
    return replace(edit, relation=rng.choice(list(RELATIONS)), other=other) if other else None


def _naming(rng: random.Random, scene: Scene, thing: Thing, every: bool) -> Kind | None:
    """Words that single a thing out, or (``every``) that several things share."""
    kinds = [Kind(thing.shape), Kind(thing.shape, thing.colour), Kind(None, thing.colour), Kind(thing.shape, None, thing.size),
             Kind(thing.shape, thing.colour, thing.size)]  # fmt: skip
    counted = [(kind, sum(kind.fits(other) for other in scene.things)) for kind in kinds]
    fitting = [kind for kind, count in counted if (count > 1 if every else count == 1)]
    return rng.choice(fitting[:3]) if fitting else None


def random_ask(rng: random.Random, split: str, group: str | None = None) -> tuple[Ask, Scene]:
    """A request with the blank sheet, or an edit with the scene that it is about, of a split."""
    while True:
        chosen = group or rng.choices(GROUPS, (1, 2, 2, 2, 3, 3, 7, 8))[0]
        if chosen == "edit":
            scene = random_scene(rng, 1)
            ask = random_edit(rng, scene)
        else:
            scene, ask = Scene(), random_request(rng, chosen)
        if ask is not None and split_of(ask) == split:
            return ask, scene
