"""Geometry figures as data: labelled points on squared paper, what joins them, and what was drawn in afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agents.tasks.maze_words import cell_at, cell_name

Point = tuple[int, int]
"""(row, column) of a corner of the squared paper, 1 to SIDE - 1; (1, 1) is the lower right corner of the first square."""
Segment = tuple[Point, Point]
"""Two different points, the smaller one first."""
Square = tuple[int, int]
"""(row, column) of a square of the paper, 0 to SIDE - 1; one of the model's tokens. Letters stand in squares."""

SIDE = 8
"""Squares along one side of the paper."""


def segment(p: Point, q: Point) -> Segment:
    return (p, q) if p <= q else (q, p)


def point_name(point: Point) -> str:
    """(1, 1) is "a1", (3, 2) is "b3": column letter, row number."""
    return cell_name((point[0] - 1, point[1] - 1))


def point_at(name: str) -> Point | None:
    """Inverse of ``point_name``; None where it names no point of the paper."""
    cell = cell_at(name)
    return (cell[0] + 1, cell[1] + 1) if cell and cell[0] < SIDE - 1 and cell[1] < SIDE - 1 else None


@dataclass(frozen=True)
class Figure:
    """What is given: points by their letters, the sides that join them, at most one circle, and where the letters stand.

    ``points`` is a tuple of (letter, point) in the order of the alphabet, ``sides`` of segments, ``circle`` (centre, radius
    in squares), ``letters`` of (letter, square).
    """

    shape: str
    points: tuple[tuple[str, Point], ...]
    sides: tuple[Segment, ...]
    circle: tuple[Point, int] | None = None
    letters: tuple[tuple[str, Square], ...] = ()

    @property
    def at(self) -> Mapping[str, Point]:
        return dict(self.points)


@dataclass(frozen=True)
class Sheet:
    """A figure and what was drawn into it: marked points and auxiliary lines."""

    figure: Figure
    marks: frozenset[Point] = field(default_factory=frozenset)
    lines: frozenset[Segment] = field(default_factory=frozenset)

    def mark(self, point: Point) -> Sheet:
        return replace(self, marks=self.marks | {point})

    def connect(self, p: Point, q: Point) -> Sheet:
        return replace(self, lines=self.lines | {segment(p, q)})
