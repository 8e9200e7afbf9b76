"""Geometry questions solved a second time, from the points and the given numbers alone: it checks the answers of the makers.

What the paper shows is computed from coordinates in exact numbers. Where a question is not to scale, a figure is built that has
the given angles, and the angle that is asked for is measured in it.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import degrees, isqrt, radians

from agents.tasks.figure import Point
from agents.tasks.geometry_steps import Given, Question


def solve_independently(question: Question) -> str:
    """The answer in words; raises ``ValueError`` where it is no whole number or what is asked is unknown."""
    what, points = question.asked.what, question.asked.points
    if what in ("equal", "nearer"):
        return _compared(question, what)
    if what == "angle":
        return _whole(_angle(*points) if question.to_scale else _built_angle(question))
    given = {one.what: one for one in question.given}
    if what == "area":
        area, known = _area(points), given.get("area")
        return _whole(area * known.value / _area(known.points) if known else area)
    if what == "distance":
        return _whole(_units(given) * 2 * _area(points) / _root(_square(*points[1:])))
    if what == "length":
        known = given.get("length")
        if known is None:
            return _whole(_units(given) * _root(_square(*points)))
        return _whole(known.value * _root(_square(*points) / _square(*known.points)))
    raise ValueError(f"Nobody knows how to find the {what}.")


def _compared(question: Question, what: str) -> str:
    from_, p, q = question.asked.points
    letters = {point: letter for letter, point in question.figure.points}
    first, second = _square(from_, p), _square(from_, q)
    if what == "equal":
        return "yes" if first == second else "no"
    return "equal" if first == second else letters[p if first < second else q]


def _units(given: dict[str, Given]) -> int:
    return given["square"].value if "square" in given else 1


def _whole(number: Fraction | int) -> str:
    if Fraction(number).denominator != 1:
        raise ValueError(f"{number} is no whole number.")
    return str(int(number))


def _square(p: Point, q: Point) -> Fraction:
    return Fraction((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2)


def _root(number: Fraction) -> Fraction:
    root = Fraction(isqrt(number.numerator), isqrt(number.denominator))
    if root * root != number:
        raise ValueError(f"The root of {number} is no fraction.")
    return root


def _area(points: Sequence[Point]) -> Fraction:
    turns = (p[0] * q[1] - p[1] * q[0] for p, q in zip(points, (*points[1:], points[0]), strict=True))
    return Fraction(abs(sum(turns)), 2)


def _angle(p: Point, vertex: Point, q: Point) -> int:
    """One of the angles that the squared paper gives exactly, in degrees."""
    (a, b), (c, d) = ((end[0] - vertex[0], end[1] - vertex[1]) for end in (p, q))
    along, across = a * c + b * d, abs(a * d - b * c)
    if along == 0 or abs(along) == across:
        return 90 if along == 0 else 45 if along > 0 else 135
    raise ValueError("This angle is none of 45, 90 and 135 degrees.")


# --- figures built from given angles, as points of the complex plane


def _measured(p: complex, vertex: complex, q: complex) -> float:
    return abs(degrees(cmath.phase((p - vertex) / (q - vertex))))


def _meet(p: complex, along: complex, q: complex, towards: complex) -> complex:
    """Where two lines meet, each given by a point and a direction."""
    across = (along.conjugate() * towards).imag
    return p + along * ((q - p).conjugate() * towards).imag / across


def _ray(angle: float) -> complex:
    return cmath.rect(1, radians(angle))


def _built_angle(question: Question) -> int:
    angles = [one.value for one in question.given if one.what == "angle"]
    where = [one.points for one in question.given if one.what == "angle"]
    build = _circle if question.figure.circle else {3: _quadrilateral, 2: _triangle, 1: _isosceles}[len(angles)]
    at = build(angles, where, question)
    found = _measured(*(at[point] for point in question.asked.points))
    if abs(found - round(found)) > 1e-6:
        raise ValueError(f"{found} is no whole number of degrees.")
    return round(found)


_Built = dict[Point, complex]


def _triangle(angles: Sequence[int], where: Sequence[tuple[Point, ...]], question: Question) -> _Built:
    (apex, left, right), (_, other, _) = where
    assert other == right
    return {left: 0j, right: 1 + 0j, apex: _meet(0j, _ray(angles[0]), 1 + 0j, _ray(180 - angles[1]))}


def _isosceles(angles: Sequence[int], where: Sequence[tuple[Point, ...]], question: Question) -> _Built:
    left, apex, right = where[0]
    at = {apex: 0j, left: _ray(0), right: _ray(angles[0])}
    middle = ((left[0] + right[0]) // 2, (left[1] + right[1]) // 2)
    return at | {middle: (at[left] + at[right]) / 2}


def _quadrilateral(angles: Sequence[int], where: Sequence[tuple[Point, ...]], question: Question) -> _Built:
    (d, a, b), (_, _, c), _ = where
    for step in range(200):  # tries for the length of b c: any that makes the whole quadrilateral turn one way
        third = 1 + 1.05 ** (step - 100) * _ray(180 - angles[1])
        last = _meet(0j, _ray(angles[0]), third, _ray(360 - angles[1] - angles[2]))
        ring = (0j, 1 + 0j, third, last)
        if all(((ring[k - 1] - ring[k - 2]).conjugate() * (ring[k] - ring[k - 1])).imag > 1e-9 for k in range(4)):
            return dict(zip((a, b, c, d), ring, strict=True))
    raise ValueError("No quadrilateral has these angles.")


def _circle(angles: Sequence[int], where: Sequence[tuple[Point, ...]], question: Question) -> _Built:
    """The points on a circle around 0: the one that is to be moved is turned until the given angle is right."""
    assert question.figure.circle is not None
    centre, points = question.figure.circle[0], where[0]
    others = [point for _, point in question.figure.points if point not in (*points, centre)]
    on_circle = [point for point in points if point != centre]
    place: Callable[[float], _Built]
    if points[1] == centre or points[0] == centre:  # one end stands still, the other turns about the centre
        p, q = on_circle

        def place(turn: float) -> _Built:
            return {centre: 0j, p: _ray(0), q: _ray(turn)} | {other: _ray(turn / 2 + 180) for other in others}
    else:  # a diameter and a third point
        p, q, moved = points

        def place(turn: float) -> _Built:
            return {centre: 0j, p: _ray(180), q: _ray(0), moved: _ray(turn)}

    low, high = 1e-9, 180 - 1e-9
    rising = _measured(*(place(170)[point] for point in points)) > _measured(*(place(10)[point] for point in points))
    for _ in range(100):
        middle = (low + high) / 2
        if (_measured(*(place(middle)[point] for point in points)) < angles[0]) == rising:
            low = middle
        else:
            high = middle
    return place((low + high) / 2)
