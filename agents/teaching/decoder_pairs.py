"""What the decoder learns from: shown pictures of all tasks before and after a change, the same for the same seed."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from agents.doodles import doodle
from agents.tasks import geometry_pictures, maze, scene
from agents.tasks.figure import SIDE, Figure, Point, Segment, Sheet, segment
from agents.tasks.geometry_mistakes import corrupt
from agents.tasks.geometry_questions import generate
from agents.tasks.geometry_steps import apply
from agents.tasks.geometry_words import free_step
from agents.tasks.scene import COLOURS, SHAPES, SIZES, Scene, Thing
from agents.teaching.geometry import SLANTING
from unimm.train.decoder import Pair

SHOWN_PX = 32
"""Shown pixels along one side of a token."""
SLANTED, LAST = 0.6, 0.7
"""Share of the constructions that mostly end in a line across the corners of the squares, and of the steps that are the last one."""
POINTS: tuple[Point, ...] = tuple(product(range(1, SIDE), repeat=2))


def pairs(seed: int, split: str = "train") -> Iterator[Pair]:
    """Endless pairs of the tasks' pictures."""
    rng = random.Random(f"decoder:{split}:{seed}")
    kinds, shares = zip(*SHARES.items(), strict=True)
    while True:
        yield rng.choices(kinds, shares)[0](rng, split)


def maze_pair(rng: random.Random, split: str) -> Pair:
    """A board and the next one, a wrong next one, or one mended; now and then a larger board."""
    size = rng.randint(9, 16) if rng.random() < 0.15 else None
    before = maze.generate(split, rng.randrange(2**60), size)
    for _ in range(rng.randrange(8)):
        before = maze.next_board(before) or before
    after = maze.next_board(before)
    if after is None:
        return Pair(None, maze.render_cells(before, SHOWN_PX))
    if rng.random() < 0.4:
        wrong = maze.corrupt(rng, before, after)
        before, after = (before, wrong) if rng.random() < 0.5 else (wrong, after)
    return Pair(maze.render_cells(before, SHOWN_PX), maze.render_cells(after, SHOWN_PX))


def tiles_pair(rng: random.Random, split: str) -> Pair:
    """Cells of all kinds anywhere, and some of them replaced."""
    kinds = np.array(rng.choices(range(8), k=64)).reshape(8, 8)
    other = np.array(rng.choices(range(8), k=64)).reshape(8, 8)
    share = rng.choice((0.05, 0.3, 1.0))
    after = np.where(np.array([rng.random() for _ in range(64)]).reshape(8, 8) < share, other, kinds)
    before, after = (np.concatenate(np.concatenate(maze.TILES(SHOWN_PX)[cells], 1), 1) for cells in (kinds, after))
    return Pair(before, after)


def sheet_pair(rng: random.Random, split: str) -> Pair:
    """A geometry figure, and lines and marks drawn in or taken out."""
    figure = random_figure(rng)
    before = Sheet(figure, frozenset(_some(rng, POINTS, 2)), frozenset(_lines(rng, figure, rng.randint(0, 2))))
    chance, after = rng.random(), before
    if chance < 0.3:
        after = after.mark(rng.choice(POINTS))
    elif chance < 0.7:
        after = replace(after, lines=after.lines | set(_lines(rng, figure, rng.randint(1, 2))))
    elif chance < 0.85:
        after = replace(after, marks=frozenset(_some(rng, POINTS, 1)), lines=frozenset(_lines(rng, figure, rng.randint(0, 2))))
    else:
        after = replace(after, figure=random_figure(rng))
    return Pair(geometry_pictures.render_pixels(before), geometry_pictures.render_pixels(after))


def question_pair(rng: random.Random, split: str) -> Pair:
    """A step of a construction, or another one in its place, drawn or put right: lines that run close to sides, as in narrow triangles."""
    question = generate(split, rng, rng.choice(SLANTING) if rng.random() < SLANTED else None)
    at = len(question.sheets) - 2 if rng.random() < LAST else rng.randrange(len(question.sheets) - 1)
    before, after = question.sheets[at : at + 2]
    chance = rng.random()
    if chance < 0.25:
        after = apply(before, free_step(rng, before))
    elif chance < 0.5:
        wrong = corrupt(rng, before, after)
        before, after = (wrong, after) if rng.random() < 0.7 else (before, wrong)
    return Pair(geometry_pictures.render_pixels(before), geometry_pictures.render_pixels(after))


def random_figure(rng: random.Random) -> Figure:
    """Points anywhere on the paper with letters beside them, a polygon through most of them, now and then a circle."""
    points = rng.sample(POINTS, rng.randint(3, 5))
    names = sorted(rng.sample(string.ascii_uppercase, len(points)))
    around = points[: rng.randint(2, len(points))]
    sides = tuple(segment(p, q) for p, q in zip(around, (*around[1:], around[0]), strict=True))
    circle = None
    if rng.random() < 0.25:
        centre = rng.choice(POINTS)
        room = min(centre[0], centre[1], SIDE - centre[0], SIDE - centre[1])
        circle = (centre, rng.randint(1, room))
    return geometry_pictures.place_letters(Figure("figure", tuple(zip(names, points, strict=True)), tuple(dict.fromkeys(sides)), circle))


def _lines(rng: random.Random, figure: Figure, count: int) -> list[Segment]:
    """Lines from points of the figure to anywhere."""
    ends = list(figure.at.values())
    drawn = ((rng.choice(ends), rng.choice(ends if rng.random() < 0.3 else POINTS)) for _ in range(count))
    return [segment(p, q) for p, q in drawn if p != q]


def _some(rng: random.Random, values: tuple[Point, ...], most: int) -> list[Point]:
    return rng.sample(values, rng.randint(0, most))


def scene_pair(rng: random.Random, split: str) -> Pair:
    """A scene of shapes, and things put in, taken out or replaced."""
    before = Scene.of(_thing(rng, slot) for slot in rng.sample(Scene().free, rng.randint(0, 6)))
    after = before
    for _ in range(rng.randint(1, 4)):
        slot = rng.choice(list(product(range(scene.SIDE), repeat=2)))
        after = after.without(slot) if rng.random() < 0.3 else after.put(_thing(rng, slot))
    return Pair(scene.render_pixels(before), scene.render_pixels(after))


def _thing(rng: random.Random, slot: scene.Slot) -> Thing:
    return Thing(slot, rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choice(SIZES))


def doodle_pair(rng: random.Random, split: str) -> Pair:
    """Lines, shapes and letters as no task draws them, from nothing."""
    return Pair(None, doodle(rng, 8 * SHOWN_PX))


SHARES: dict[Callable[[random.Random, str], Pair], float] = {
    maze_pair: 0.1, tiles_pair: 0.06, sheet_pair: 0.2, question_pair: 0.36, scene_pair: 0.22, doodle_pair: 0.06,
}  # fmt: skip
"""Kind of pair -> share. Figures have thin lines and letters, which are hardest; boards are flat tiles."""
