"""Measures of points on the squared paper, in whole numbers and without looking at how a figure is turned."""

from __future__ import annotations

from collections.abc import Iterable

from agents.tasks.figure import Point


def cross(o: Point, p: Point, q: Point) -> int:
    """Twice the area of the triangle o p q, positive or negative by its sense."""
    return (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0])


def dot(o: Point, p: Point, q: Point) -> int:
    """Positive where the angle p o q is acute, 0 where it is right."""
    return (p[0] - o[0]) * (q[0] - o[0]) + (p[1] - o[1]) * (q[1] - o[1])


def squared(p: Point, q: Point) -> int:
    return (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2


def along_squares(p: Point, q: Point) -> bool:
    """Whether two different points lie on one of the paper's lines, level or upright."""
    return (p[0] == q[0]) != (p[1] == q[1])


def length(p: Point, q: Point) -> int:
    """Squares between two points on one of the paper's lines."""
    return abs(p[0] - q[0]) + abs(p[1] - q[1])


def midpoint(p: Point, q: Point) -> Point | None:
    """None where it is no corner of the squares."""
    rows, columns = p[0] + q[0], p[1] + q[1]
    return None if rows % 2 or columns % 2 else (rows // 2, columns // 2)


def foot(point: Point, p: Point, q: Point) -> Point:
    """The foot of the perpendicular from a point to the line through p and q, which lies along the squares."""
    return (p[0], point[1]) if p[0] == q[0] else (point[0], p[1])


def fourth(a: Point, b: Point, d: Point) -> Point:
    """The corner C that makes A B C D a parallelogram."""
    return b[0] + d[0] - a[0], b[1] + d[1] - a[1]


def between(point: Point, p: Point, q: Point) -> bool:
    """Whether the foot of a point on the line p q is between the two, and neither of them."""
    return dot(p, point, q) > 0 and dot(q, point, p) > 0


def convex(points: Iterable[Point]) -> bool:
    """Whether the points, in turn, are the corners of a convex polygon without straight angles."""
    ring = list(points)
    turns = [cross(ring[i - 2], ring[i - 1], ring[i]) for i in range(len(ring))]
    return all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)
