"""From a sketch of a figure (roles instead of letters, anywhere on the plane) to a question on the squared paper."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from agents.tasks.figure import SIDE, Figure, Point, point_name, segment
from agents.tasks.geometry_steps import Asked, Given, Question, Step

LETTERS = "ABCDEFGH"
CENTRE = "O"
AUXILIARY = "MNPQ"
"""Names of points that are drawn in later: they bear no letter on the paper."""
_PAIR = re.compile(r"\b([A-DO]@) ([A-DO]@)")


@dataclass(frozen=True)
class Sketch:
    """What one kind of question draws up: every capital letter in its texts is a role of ``points``.

    The roles of the figure are A to D (random letters on the paper) and O, a circle's centre; M, N, P, Q are points to be drawn.
    A role with "@" behind it is told with its point: the thought names what it computes with, so that each word of it is one easy
    look-up. ``steps`` are (roles, why): one role is marked, two are connected. ``given`` are (what, roles, value), ``asked`` (what, roles).
    A ``reason`` that could be told in several orders is all of them; the one that comes first by its letters is told, so that there is
    one to learn.
    """

    points: dict[str, Point]
    sides: tuple[str, ...]
    words: str
    steps: tuple[tuple[str, str], ...]
    answer: str
    reason: str | tuple[str, ...]
    asked: tuple[str, str]
    given: tuple[tuple[str, str, int], ...] = ()
    to_scale: bool = True
    radius: int | None = None


Points = Mapping[str, Point]
"""Role -> where it is: absolute corners of the paper, or anywhere on the plane."""


@dataclass(frozen=True)
class Kind:
    """A kind of question: its name for people, which roles its figures have, and how it is made.

    ``shape`` gives the points of a random figure, or None. ``make`` draws up the question about any figure, wherever it lies
    and however it is turned; random are only words and given numbers. Where the figure does not suit, it says why, in a sentence
    about roles.
    """

    title: str
    roles: tuple[str, ...]
    shape: Callable[[random.Random], dict[str, Point] | None]
    make: Callable[[Points, random.Random], Sketch | str]


def turned(points: Sequence[Point], turn: int) -> list[Point]:
    """Points under one of the eight rotations and reflections of the paper, ``turn`` 0 to 7."""
    for _ in range(turn % 4):
        points = [(column, -row) for row, column in points]
    return [(row, -column) for row, column in points] if turn >= 4 else list(points)


def too_near(points: Points) -> tuple[str, str] | None:
    """Two points of which one is so near to the other that a letter might belong to either."""
    near = (pair for pair in combinations(points, 2) if _steps(points[pair[0]], points[pair[1]]) < 2)
    return next(near, None)


def _steps(p: Point, q: Point) -> int:
    return max(abs(p[0] - q[0]), abs(p[1] - q[1]))


def lettered(sketch: Sketch) -> list[str]:
    """The roles whose points bear a letter."""
    return [role for role in sketch.points if role not in AUXILIARY]


def _extent(points: Points, radius: int | None) -> list[Point]:
    """Points that are on the paper only if the whole sketch is."""
    if radius is None:
        return list(points.values())
    row, column = points[CENTRE]
    return [*points.values(), (row + radius, column + radius), (row - radius, column - radius)]


def on_paper(sketch: Sketch) -> bool:
    return all(1 <= at < SIDE for point in _extent(sketch.points, sketch.radius) for at in point)


def lay_down(rng: random.Random, sketch: Sketch) -> tuple[Sketch, dict[str, str]] | None:
    """The sketch turned and moved to a random place on the paper, and a random letter for every role that has one.

    None where it is too large for the paper or has points that are too near to each other.
    """
    roles = lettered(sketch)
    if too_near({role: sketch.points[role] for role in roles}):
        return None
    at = dict(zip(sketch.points, turned(list(sketch.points.values()), rng.randrange(8)), strict=True))
    extent, moves = _extent(at, sketch.radius), []
    for axis in (0, 1):
        low, high = min(point[axis] for point in extent), max(point[axis] for point in extent)
        if high - low > SIDE - 2:
            return None
        moves.append(rng.randint(1 - low, SIDE - 1 - high))
    at = {role: (row + moves[0], column + moves[1]) for role, (row, column) in at.items()}
    free = [role for role in roles if role != CENTRE]
    names = dict(zip(free, rng.sample(LETTERS, len(free)), strict=True))
    return replace(sketch, points=at), {role: names.get(role, role) for role in roles}


def retold(text: str, names: Mapping[str, str]) -> str:
    """A sentence about roles with the letters of the paper in their place."""
    return re.sub(r"\b[A-DO]\b", lambda role: names.get(role[0], role[0]), text)


def write_down(kind: str, sketch: Sketch, names: Mapping[str, str]) -> Question:
    """The question that a sketch on the paper asks, with the given letters for its roles; letters have no squares yet."""
    at = sketch.points
    figure = Figure(
        "circle" if sketch.radius is not None else {3: "triangle", 4: "quadrilateral"}[len(names)],
        tuple(sorted((name, at[role]) for role, name in names.items())),
        tuple(sorted(segment(at[p], at[q]) for p, q in sketch.sides)),
        (at[CENTRE], sketch.radius) if sketch.radius is not None else None,
    )

    def say(text: str) -> str:
        text = _PAIR.sub(lambda pair: " ".join(sorted(pair.groups(), key=lambda role: names[role[0]])), text)
        return " ".join(tell(word.removesuffix("@"), word.endswith("@")) for word in text.split())

    def tell(word: str, where: bool) -> str:
        return f"{names.get(word, word)} {point_name(at[word])}" if where else names.get(word, word)

    def ends(roles: str) -> tuple[Point, ...]:
        """As the thought has named them: points with letters in the order of these, marks in that of the paper."""
        if set(roles) <= set(names):
            return tuple(at[role] for role in sorted(roles, key=lambda role: names[role]))
        return segment(at[roles[0]], at[roles[1]]) if roles in ("MN", "PQ") else (at[roles[0]], at[roles[1]])

    def where(roles: str) -> tuple[Point, ...]:
        return tuple(at[role] for role in roles)

    steps = tuple(
        Step("connect", *ends(roles), say(why)) if len(roles) == 2 else Step("mark", at[roles], None, say(why))
        for roles, why in sketch.steps
    )
    reasons = (sketch.reason,) if isinstance(sketch.reason, str) else sketch.reason
    spoken = {*sketch.asked[1], *(role for _, roles, _ in sketch.given for role in roles)}
    return Question(
        kind, figure, say(sketch.words), steps, say(sketch.answer), min(map(say, reasons)),
        tuple(Given(what, where(roles), value) for what, roles, value in sketch.given), Asked(sketch.asked[0], where(sketch.asked[1])),
        sketch.to_scale, tuple(sorted(names[role] for role in spoken if role in names)),
    )  # fmt: skip


def shape_of(figure: Figure) -> tuple[Point, ...]:
    """A figure's points up to translation, rotation by 90 degrees and reflection."""
    points = [point for _, point in figure.points]
    shapes = []
    for turn in range(8):
        moved = turned(points, turn)
        top, left = min(row for row, _ in moved), min(column for _, column in moved)
        shapes.append(tuple(sorted((row - top, column - left) for row, column in moved)))
    return min(shapes)
