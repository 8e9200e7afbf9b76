"""The small change of thoughts and answers, as words alone: pairs of points compared and halved, heights, sums, and where a move leads."""

from __future__ import annotations

import random
from itertools import combinations

from agents.tasks.figure import SIDE, Point, point_name
from agents.tasks.geometry_lattice import along_squares, foot, length, midpoint
from agents.tasks.geometry_words import beside_words, same_words, squares_words
from agents.tasks.maze_rules import MOVES
from agents.tasks.maze_words import cell_name
from unimm.train.data import Branch

LETTERS = "ABCDEFGH"
LARGEST = 12
"""Cells along the side of the largest boards that lessons are about."""


def drill(rng: random.Random) -> Branch:
    """Points with all that each two of them have in common, points found from others, heights, bisectors, sums as they come
    in answers, or moves."""
    return rng.choices(tuple(KINDS), tuple(KINDS.values()))[0](rng)


def _pairs(rng: random.Random) -> Branch:
    points = dict(zip(sorted(rng.sample(LETTERS, 4)), _places(rng, 4), strict=True))
    seen = " ".join(f"{letter} {point_name(point)} ." for letter, point in points.items())
    told = []
    for (one, p), (two, q) in combinations(points.items(), 2):
        how = f"straight {length(p, q)}" if along_squares(p, q) else "slanted"
        middle = midpoint(p, q)
        told.append(f"{one} {point_name(p)} {two} {point_name(q)} {how}" + (f" midpoint {point_name(middle)}" if middle else ""))
    return Branch("geometry find : sides", f"{' , '.join(told)} .", alone=True, told=seen)


def _same(rng: random.Random) -> Branch:
    """Points held against points, most others one square away."""
    pairs = [(point, point if rng.random() < 0.5 else _other(rng, point)) for point in _places(rng, 10)]
    asked = " , ".join(f"{point_name(one)} {point_name(other)}" for one, other in pairs)
    return Branch(f"geometry find : same {asked}", f"check : {same_words(pairs)} .", alone=True)


def _other(rng: random.Random, point: Point) -> Point:
    while True:
        reach = 1 if rng.random() < 0.7 else SIDE
        row, column = (at + rng.randint(-reach, reach) for at in point)
        if (row, column) != point and 0 < row < SIDE and 0 < column < SIDE:
            return row, column


def _places(rng: random.Random, count: int) -> list[Point]:
    """Different corners of the squares, many of them in line with one before."""
    places: list[Point] = []
    while len(places) < count:
        point = rng.randrange(1, SIDE), rng.randrange(1, SIDE)
        if places and rng.random() < 0.5:
            row, column = rng.choice(places)
            point = (row, point[1]) if rng.random() < 0.5 else (point[0], column)
        if point not in places:
            places.append(point)
    return places


def _found(rng: random.Random) -> Branch:
    """Points without a letter, as thoughts find them: in the middle of two, some squares along a line, on the perpendicular bisector of
    two, or the foot of an altitude."""
    found: list[tuple[str, str]] = []
    while len(found) < 5:
        top, p, q = ((rng.randrange(1, SIDE), rng.randrange(1, SIDE)) for _ in range(3))
        if rng.random() < 0.6:
            q = (p[0], q[1]) if rng.random() < 0.5 else (q[0], p[1])
        if p != q and (what := rng.choice((_foot, _middle, _bisector, _squares_on, _squares_both))(rng, top, p, q)):
            found.append(what)
    return Branch(f"geometry find : {' , '.join(ask for ask, _ in found)}", f"{' . '.join(told for _, told in found)} .", alone=True)


def _foot(rng: random.Random, top: Point, p: Point, q: Point) -> tuple[str, str] | None:
    if not along_squares(p, q):
        return None
    what = f"{point_name(top)} to {point_name(p)} {point_name(q)}"
    point = foot(top, p, q)
    return f"foot {what}", f"{what} at {beside_words(p, q, point)} mark {point_name(point)}"


def _middle(rng: random.Random, top: Point, p: Point, q: Point) -> tuple[str, str] | None:
    if (middle := midpoint(p, q)) is None:
        return None
    what = f"{point_name(p)} {point_name(q)}"
    return f"midpoint {what}", f"{what} middle {beside_words(p, q, middle)} mark {point_name(middle)}"


def _bisector(rng: random.Random, top: Point, p: Point, q: Point) -> tuple[str, str] | None:
    """Where the perpendicular bisector of two points is as far along as a third one."""
    middle = midpoint(p, q)
    if not along_squares(p, q) or middle is None:
        return None
    point = (top[0], middle[1]) if p[0] == q[0] else (middle[0], top[1])
    what = f"{point_name(p)} {point_name(q)} as far as {point_name(top)}"
    return what, f"{what} at {beside_words(p, q, point)} mark {point_name(point)}"


def _squares_on(rng: random.Random, top: Point, p: Point, q: Point) -> tuple[str, str] | None:
    """From one point some squares towards another."""
    return _ahead(rng.randint(1, length(p, q)), p, q, point_name(q)) if along_squares(p, q) else None


def _squares_both(rng: random.Random, top: Point, p: Point, q: Point) -> tuple[str, str] | None:
    """From one point some squares along both directions of the paper."""
    if p[0] == q[0] or p[1] == q[1]:
        return None
    squares = rng.randint(1, min(abs(p[0] - q[0]), abs(p[1] - q[1])))
    return _ahead(squares, p, q, f"{point_name((p[0], q[1]))} {point_name((q[0], p[1]))}")


def _ahead(squares: int, p: Point, q: Point, towards: str) -> tuple[str, str]:
    """The point so many squares from p, towards q in every direction in which they differ."""
    row, column = (one + squares * ((other > one) - (other < one)) for one, other in zip(p, q, strict=True))
    what = f"{squares} from {point_name(p)} to {towards}"
    return what, f"{what} at {squares_words(p, (row, column))} mark {point_name((row, column))}"


def _heights(rng: random.Random) -> Branch:
    """Lines along the squares with their lengths, and how far two points are from each."""
    asked, told = list[str](), list[str]()
    while len(told) < 3:
        names, (p, q, *tops) = rng.sample(LETTERS, 4), _places(rng, 4)
        axis = 0 if p[0] == q[0] else 1
        if not along_squares(p, q) or any(top[axis] == p[axis] for top in tops):
            continue
        line, *ends = (" ".join(named) for named in zip(names, map(point_name, (p, q, *tops)), strict=True))
        heights = " and ".join(f"{end} {abs(top[axis] - p[axis])}" for end, top in zip(ends[1:], tops, strict=True))
        asked.append(f"{line} {ends[0]} heights {' and '.join(ends[1:])}")
        told.append(f"{line} {ends[0]} straight {length(p, q)} , heights {heights}")
    return Branch(f"geometry find : {' , '.join(asked)}", f"{' . '.join(told)} .", alone=True)


def _legs(rng: random.Random) -> Branch:
    """How far from both legs of a right angle its bisector meets the third side, where that is whole squares."""
    pairs = rng.choices([(one, other) for one in range(2, SIDE) for other in range(2, SIDE) if one * other % (one + other) == 0], k=6)
    asked = " , ".join(f"bisector {one} {other}" for one, other in pairs)
    told = " . ".join(f"{one} , {other} , first P {one * other // (one + other)} from both sides" for one, other in pairs)
    return Branch(f"geometry find : {asked}", f"{told} .", alone=True)


def _sums(rng: random.Random) -> Branch:
    sums = [rng.choice((_difference, _half, _product, _sum))(rng) for _ in range(6)]
    asked = " , ".join(what for what, _ in sums)
    return Branch(f"geometry find : {asked}", " , ".join(f"{what} = {value}" for what, value in sums) + " .", alone=True)


def _moves(rng: random.Random) -> Branch:
    """Where an agent comes to that goes one cell, as a maze's thoughts tell it."""
    ways, side = [], rng.choice((SIDE, LARGEST))
    while len(ways) < 6:
        (row, column), (move, (down, right)) = (rng.randrange(side), rng.randrange(side)), rng.choice(list(MOVES.items()))
        if 0 <= row + down < side and 0 <= column + right < side:
            ways.append((cell_name((row, column)), move, cell_name((row + down, column + right))))
    asked = " , ".join(f"{cell} {move}" for cell, move, _ in ways)
    told = " ".join(f"agent at {cell} . go {move} to {after} ." for cell, move, after in ways)
    return Branch(f"maze find : {asked}", told, alone=True)


def _difference(rng: random.Random) -> tuple[str, int]:
    whole = rng.choice((360, 180, 10 * rng.randint(12, 31)))
    part = 10 * rng.randint(2, min(whole // 10 - 2, 14))
    return f"{whole} - {part}", whole - part


def _half(rng: random.Random) -> tuple[str, int]:
    whole = 2 * rng.randint(1, 30) if rng.random() < 0.7 else 10 * rng.randint(2, 16)
    return f"half of {whole}", whole // 2


def _product(rng: random.Random) -> tuple[str, int]:
    one, two = rng.randint(1, 6), rng.randint(1, 12)
    return f"{one} * {two}", one * two


def _sum(rng: random.Random) -> tuple[str, int]:
    one, two = rng.randint(1, 6), rng.randint(1, 6)
    return f"{one} + {two}", one + two


KINDS = {_pairs: 1, _same: 4, _found: 4, _heights: 2, _legs: 3, _sums: 1, _moves: 1}
"""Drills, and how often each comes: what thoughts and verdicts got wrong most comes most."""
