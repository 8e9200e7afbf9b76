"""The kinds of question about areas and the altitudes and diagonals that give them.

Every kind is two functions: ``.._shape`` gives the points of a random figure, the other draws up the question about any figure.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from agents.tasks.figure import Point
from agents.tasks.geometry_figures import Points, Sketch
from agents.tasks.geometry_lattice import along_squares, convex, cross, dot, foot, fourth, length, midpoint, squared
from agents.tasks.geometry_phrases import FLAT, QUADRILATERAL, TRIANGLE, around, ask, scaled, shuffled

Shape = dict[str, Point] | None
_LEAST_HEIGHT = 2


def _searched(points: Points, pairs: Iterable[str], wanted: int = 1, measured: bool = False) -> str:
    """The pairs of points one by one, each straight (along the squares) or slanted, until the straight ones that are wanted are found.

    A look for what is straight is then one comparison at a time. ``measured`` tells how long the straight ones are.
    """
    told = []
    for p, q in pairs:
        straight = along_squares(points[p], points[q])
        how = f"straight {length(points[p], points[q])}" if straight and measured else "straight" if straight else "slanted"
        told.append(f"{p}@ {q}@ {how}")
        wanted -= straight
        if not wanted:
            break
    return " , ".join(told)


def _sides(ring: str, without: str = "") -> list[str]:
    """The sides of a polygon in turn, of those corners named in a ``ring``, but none that ends ``without``."""
    corners = ring.split()
    sides = [one + other for one, other in zip(corners, corners[1:] + corners[:1], strict=True)]
    return [side for side in sides if not without or without not in side]


def leaning_shape(rng: random.Random) -> Shape:
    """A triangle on a base along the squares."""
    base, height = rng.randint(2, 6), rng.randint(2, 6)
    return {"A": (0, rng.randint(base - 6, 6)), "B": (height, 0), "C": (height, base)}


def _altitude(points: Points) -> tuple[int, int, dict[str, Point]] | str:
    """(base, height, points) with the foot P of the altitude from A."""
    a, b, c = (points[role] for role in "ABC")
    if not along_squares(b, c):
        return "Side B C must lie along the squares, level or upright; move B or C."
    at = foot(a, b, c)
    for role in "BC":
        if at == points[role]:
            return f"The altitude from A would fall on {role}, where a side is already; move A."
    if length(a, at) < _LEAST_HEIGHT:
        return FLAT.format("A")
    return length(b, c), length(a, at), {**points, "P": at}


_HEIGHT = "altitude from {}@ is the height"


def triangle_area(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(drawn := _altitude(points), str):
        return drawn
    base, height, points = drawn
    if base * height % 2:
        return "The area would be no whole number; move A by one square nearer to B C, or further away."
    ring = shuffled(rng, "ABC")
    why = f"{_searched(points, _sides(ring))} , {_HEIGHT.format('A')}"
    return Sketch(
        points, TRIANGLE, ask(rng, f"area of triangle {ring}"), (("P", f"{why} , first its foot"), ("AP", why)), str(base * height // 2),
        f"{_searched(points, _sides(ring), measured=True)} , height A@ P@ {height} , half of {base * height}", ("area", "ABC"),
    )  # fmt: skip


def distance(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(drawn := _altitude(points), str):
        return drawn
    units, words, given = scaled(rng)
    line = "B C" if rng.random() < 0.5 else "C B"
    why = "altitude from A@ to B@ C@ is the distance"
    reason = f"altitude A@ P@ {drawn[1]}" + (f" , {drawn[1]} * {units}" if units > 1 else "")
    return Sketch(
        drawn[2], TRIANGLE, words + rng.choice((f"how far is A from line {line} ?", f"distance from A to line {line} ?")),
        (("P", f"{why} , first its foot"), ("AP", why)), str(units * drawn[1]), reason, ("distance", "ABC"), given,
    )  # fmt: skip


def parallelogram_shape(rng: random.Random) -> Shape:
    base, height, lean = rng.randint(2, 5), rng.randint(2, 6), rng.randint(-5, 5)
    return {"A": (0, lean), "B": (0, lean + base), "C": (height, base), "D": (height, 0)} if lean else None


def _height(points: Points, top: str) -> tuple[int, dict[str, Point]] | str:
    """(height, points) of a figure on a base D C along the squares with the foot P of the altitude from A or B."""
    at = foot(points[top], points["D"], points["C"])
    for role in "CD":
        if at == points[role]:
            return f"The altitude from {top} would fall on {role}; move {top} along its side."
    if (height := length(points[top], at)) < _LEAST_HEIGHT:
        return FLAT.format(top)
    return height, {**points, "P": at}


def parallelogram_area(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c, d = (points[role] for role in "ABCD")
    if not along_squares(d, c):
        return "Side C D must lie along the squares, level or upright; move C or D."
    if fourth(a, b, d) != c:
        return "A B C D is no parallelogram yet; A B must be as long as D C and run the same way."
    if dot(a, b, d) == 0:
        return "This parallelogram is a rectangle, which needs no altitude; move A and B along their side."
    top = rng.choice("AB")
    if isinstance(drawn := _height(points, top), str):
        return drawn
    base, (height, points) = length(c, d), drawn
    ring = around(rng)
    opposite = _sides(ring, top)
    why = f"{_searched(points, opposite)} , {_HEIGHT.format(top)}"
    return Sketch(
        points, QUADRILATERAL, ask(rng, f"area of parallelogram {ring}", f"draw the height from {top} . "),
        (("P", f"{why} , first its foot"), (top + "P", why)), str(base * height),
        f"{_searched(points, opposite, measured=True)} , height {top}@ P@ {height} , {base} * {height}", ("area", "ABCD"),
    )  # fmt: skip


def trapezoid_shape(rng: random.Random) -> Shape:
    short, wide, height, lean = rng.randint(1, 5), rng.randint(2, 6), rng.randint(2, 6), rng.randint(-4, 5)
    return None if short == wide else {"A": (0, lean), "B": (0, lean + short), "C": (height, wide), "D": (height, 0)}


def trapezoid_area(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c, d = (points[role] for role in "ABCD")
    if not along_squares(d, c) or not along_squares(a, b) or cross((0, 0), _way(a, b), _way(d, c)):
        return "The bases A B and C D must both lie along the squares, side by side; move one of their ends."
    if not convex((a, b, c, d)):
        return "The sides A D and B C cross, or the figure is flat; move A or B."
    if along_squares(a, d) or along_squares(b, c):
        return "A side between the bases is a height already, so no altitude is needed; move A or B along their side."
    short, wide = length(a, b), length(d, c)
    if short == wide:
        return "The bases A B and C D are equally long, so this is a parallelogram; move A or B."
    top = rng.choice("AB")
    if isinstance(drawn := _height(points, top), str):
        return drawn
    height, points = drawn
    if (short + wide) * height % 2:
        return "The area would be no whole number; make one of the bases longer or shorter by one square."
    ring = around(rng)
    why, sides = f"{_searched(points, _sides(ring, top))} , {_HEIGHT.format(top)}", _sides(ring)
    first, second = (short, wide) if next(set(side) for side in sides if set(side) in ({*"AB"}, {*"CD"})) == {*"AB"} else (wide, short)
    return Sketch(
        points, QUADRILATERAL, ask(rng, f"area of trapezoid {ring}", f"draw the height from {top} . "),
        (("P", f"{why} , first its foot"), (top + "P", why)), str((short + wide) * height // 2),
        f"{_searched(points, sides, 2, measured=True)} , {first} + {second} = {short + wide} , height {top}@ P@ {height} , "
        f"half of {(short + wide) * height}", ("area", "ABCD"),
    )  # fmt: skip


def _both(one: str, other: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two things in either order."""
    return (one, other), (other, one)


def _way(p: Point, q: Point) -> Point:
    return q[0] - p[0], q[1] - p[1]


def quadrilateral_shape(rng: random.Random) -> Shape:
    length, above, below = rng.randint(2, 6), rng.randint(1, 4), rng.randint(1, 4)
    points = {"A": (0, 0), "B": (-above, rng.randint(0, length)), "C": (0, length), "D": (below, rng.randint(0, length))}
    return None if points["B"][1] == points["D"][1] else points


def quadrilateral_area(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c, d = (points[role] for role in "ABCD")
    if not along_squares(a, c):
        return "Diagonal A C must lie along the squares, level or upright; move A or C."
    if not convex((a, b, c, d)):
        return "One corner points inwards, or sides cross; put B and D on either side of A C."
    if along_squares(b, d):
        return "Both diagonals lie along the squares, as in a kite; move B or D so that only A C does."
    whole, above, below = length(a, c), length(b, foot(b, a, c)), length(d, foot(d, a, c))
    if whole * (above + below) % 2:
        return "The area would be no whole number; move B or D by one square nearer to A C, or further away."
    ring = around(rng)
    one, two, three, four = ring.split()
    lines = one + three, two + four
    why = f"{_searched(points, lines)} , this diagonal cuts it into two triangles"
    return Sketch(
        dict(points), QUADRILATERAL, ask(rng, f"area of quadrilateral {ring}"), (("AC", why),), str(whole * (above + below) // 2),
        tuple(
            f"{_searched(points, lines, measured=True)} , heights {one} and {other} , {one.split()[-1]} + {other.split()[-1]} = "
            f"{above + below} , half of {whole * (above + below)}" for one, other in _both(f"B@ {above}", f"D@ {below}")
        ), ("area", "ABCD"),
    )  # fmt: skip


def kite_shape(rng: random.Random) -> Shape:
    length, half = rng.randint(2, 6), rng.randint(1, 3)
    at = rng.randint(1, length - 1)
    return {"A": (0, 0), "B": (at, half), "C": (length, 0), "D": (at, -half)}


def kite_area(points: Points, rng: random.Random) -> Sketch | str:
    if not along_squares(points["A"], points["C"]) or not along_squares(points["B"], points["D"]):
        return "The diagonals A C and B D must lie along the squares, level or upright; move one of their ends."
    if not convex(points[role] for role in "ABCD"):
        return "The diagonals A C and B D must cross inside the kite; move one of their ends."
    axis = next((axis for axis in ("ABCD", "BCDA") if _mirrors(*(points[role] for role in axis))), None)
    if axis is None:
        return "This is no kite yet; one diagonal must cut the other one in half."
    ring = around(rng)
    first, second, third, fourth_ = ring.split()
    whole, half = length(points[axis[0]], points[axis[2]]), length(points[axis[1]], points[axis[3]]) // 2
    lengths = length(points[first], points[third]), length(points[second], points[fourth_])
    why = "half the product of the diagonals"
    return Sketch(
        dict(points), QUADRILATERAL, ask(rng, f"area of kite {ring}"),
        ((first + third, f"{why} , first diagonal {first}@ {third}@"), (second + fourth_, f"{why} , now diagonal {second}@ {fourth_}@")),
        str(whole * half), f"diagonals {first}@ {third}@ {lengths[0]} and {second}@ {fourth_}@ {lengths[1]} , half of {2 * half * whole}",
        ("area", "ABCD"),
    )  # fmt: skip


def _mirrors(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the line a c is the axis of a kite."""
    return squared(a, b) == squared(a, d) and squared(c, b) == squared(c, d) and midpoint(b, d) is not None


def rectangle_shape(rng: random.Random) -> Shape:
    width, height = rng.randint(1, 6), rng.randint(1, 6)
    return {"A": (0, 0), "B": (0, width), "C": (height, width), "D": (height, 0)}


def rectangle_half(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c, d = (points[role] for role in "ABCD")
    if not along_squares(a, b) or not along_squares(a, d) or dot(a, b, d) or fourth(a, b, d) != c:
        return "A B C D is no rectangle along the squares yet; move the corner that is out of line."
    width, height = length(a, b), length(a, d)
    if width * height % 2 or width * height < 4:
        return "Half of the area would be no whole number; make one side longer or shorter by one square."
    part = rng.choice(("A B C", "C D A", "C B A", "A D C"))
    return Sketch(
        dict(points), QUADRILATERAL, ask(rng, f"area of triangle {part}", f"{around(rng)} is a rectangle . "),
        (("AC", "diagonal A@ C@ makes two equal triangles"),), str(width * height // 2),
        f"{_searched(points, _sides(part), 2, measured=True)} , half of {width * height}", ("area", part.replace(" ", "")),
    )  # fmt: skip


def with_midpoint_shape(rng: random.Random) -> Shape:
    """A triangle whose side B C, level or slanted, has its midpoint on a corner of the squares."""
    down, right = (0, rng.choice((2, 4, 6))) if rng.random() < 0.6 else (rng.choice((2, 4, 6)), rng.choice((2, 4, 6)))
    return {"A": (rng.randint(-6, 6), rng.randint(-6, 6)), "B": (0, 0), "C": (down, right)}


def with_midpoint(points: Points) -> dict[str, Point] | str:
    """The points with the midpoint M of B C."""
    middle = midpoint(points["B"], points["C"])
    if middle is None:
        return "The midpoint of B C would fall between the corners of the squares; move B or C."
    return FLAT.format("A") if abs(cross(*(points[role] for role in "ABC"))) < 4 else {**points, "M": middle}


def median_area(points: Points, rng: random.Random) -> Sketch | str:
    twice = abs(cross(*(points[role] for role in "ABC")))
    if isinstance(drawn := with_midpoint(points), str):
        return drawn
    if twice % 4:
        return "Half of the area would be no whole number; move A."
    start = rng.choice(("A M is a median . ", "A M is the median from A . ")) + f"area of triangle {shuffled(rng, 'ABC')} = {twice // 2} . "
    why, part = "median from A@ goes to the midpoint of B@ C@", rng.choice(("A B M", "A C M"))
    return Sketch(
        drawn, TRIANGLE, ask(rng, f"area of triangle {part}", start), (("M", f"{why} , first M"), ("AM", why)), str(twice // 4),
        f"median makes two equal areas , half of {twice // 2}", ("area", part.replace(" ", "")), (("area", "ABC", twice // 2),),
    )  # fmt: skip
