"""Wrong scenes with exactly known faults: what the critic learns from."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from agents.tasks.compose_asks import Ask, judged, random_thing
from agents.tasks.scene import COLOURS, SHAPES, SIZES, Scene, Thing

Mistake = Callable[[random.Random, Scene, Scene], Scene]
"""(rng, scene, what was there before) -> the scene with a mistake; the same scene where there is none to make."""


def corrupt(rng: random.Random, ask: Ask, before: Scene, right: Scene) -> Scene:
    """A scene near the right one with a mistake or two, never right by the rules."""
    while True:
        wrong = right
        for _ in range(1 if rng.random() < 0.75 else 2):
            wrong = rng.choices(_MISTAKES, _OFTEN)[0](rng, wrong, before)
        if not judged(ask, before, wrong).ok:
            return wrong


def _other(rng: random.Random, thing: Thing, name: str) -> Thing:
    values = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES}[name]
    return replace(thing, **{name: rng.choice([value for value in values if value != getattr(thing, name)])})


def _attribute(name: str) -> Mistake:
    def mistake(rng: random.Random, scene: Scene, before: Scene) -> Scene:
        return scene.put(_other(rng, rng.choice(scene.things), name)) if scene.things else scene

    return mistake


def _lost(rng: random.Random, scene: Scene, before: Scene) -> Scene:
    return scene.without(rng.choice(scene.things).slot) if scene.things else scene


def _added(rng: random.Random, scene: Scene, before: Scene) -> Scene:
    slot = rng.choice(scene.free)
    alike = replace(rng.choice(scene.things), slot=slot) if scene.things and rng.random() < 0.5 else random_thing(rng, slot)
    return scene.put(alike)


def _moved(rng: random.Random, scene: Scene, before: Scene) -> Scene:
    if not scene.things:
        return scene
    thing = rng.choice(scene.things)
    return scene.without(thing.slot).put(replace(thing, slot=rng.choice(scene.free)))


def _swapped(rng: random.Random, scene: Scene, before: Scene) -> Scene:
    if len(scene.things) < 2:
        return scene
    one, two = rng.sample(scene.things, 2)
    return scene.put(replace(one, slot=two.slot), replace(two, slot=one.slot))


def _blank(rng: random.Random, scene: Scene, before: Scene) -> Scene:
    return before


_MISTAKES: tuple[Mistake, ...] = (_attribute("colour"), _attribute("shape"), _attribute("size"), _lost, _added, _moved, _swapped, _blank)
_OFTEN = (4, 4, 4, 4, 5, 6, 5, 0.7)
