"""The kinds of question about lengths and angles of triangles and quadrilaterals, and the lines that give them.

Every kind is two functions: ``.._shape`` gives the points of a random figure, the other draws up the question about any figure.
"""

from __future__ import annotations

import random

from agents.tasks.figure import Point
from agents.tasks.geometry_areas import Shape, with_midpoint
from agents.tasks.geometry_figures import Points, Sketch
from agents.tasks.geometry_lattice import along_squares, between, convex, cross, dot, foot, fourth, length, midpoint, squared
from agents.tasks.geometry_phrases import FLAT, LOOSE, QUADRILATERAL, TRIANGLE, around, ask, long, scaled

_ONE_LINE = "A, B and C lie on one line; move one of them."


def median_length(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(drawn := with_midpoint(points), str):
        return drawn
    squares = length(points["B"], points["C"]) if along_squares(points["B"], points["C"]) else 0
    whole = squares * rng.randint(1, 9) if squares else 2 * rng.randint(2, 30)
    start = ("" if squares else LOOSE) + rng.choice(("A M is a median . ", "A M is the median from A . ")) + f"B C = {whole} . "
    why, part = "median from A@ goes to the midpoint of B@ C@", rng.choice(("B M", "C M"))
    return Sketch(
        drawn, TRIANGLE, long(rng, part, start), (("M", f"{why} , first M"), ("AM", why)), str(whole // 2),
        f"M is the midpoint , half of {whole}", ("length", part.replace(" ", "")), (("length", "BC", whole),), bool(squares),
    )  # fmt: skip


def midline_shape(rng: random.Random) -> Shape:
    down, right = (0, rng.choice((2, 4, 6))) if rng.random() < 0.6 else (rng.choice((2, 4, 6)), rng.choice((2, 4, 6)))
    return {"A": (2 * rng.randint(-3, 3), 2 * rng.randint(-3, 3)), "B": (0, 0), "C": (down, right)}


def midline(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c = (points[role] for role in "ABC")
    if not cross(a, b, c):
        return _ONE_LINE
    m, n = midpoint(a, b), midpoint(a, c)
    if m is None or n is None:
        side = "A B" if m is None else "A C"
        return f"The midpoint of {side} would fall between the corners of the squares; move one of its ends."
    slanted, units = not along_squares(b, c), rng.randint(1, 9)
    whole, told = (2 * rng.randint(2, 30), True) if slanted else (length(b, c) * units, rng.random() < 0.6)
    words = f"B C = {whole} . " if told else f"1 square = {units} . "
    start = LOOSE if slanted else ""
    start += rng.choice(("M is the midpoint of A B , N of A C . ", "M and N are the midpoints of A B and A C . ")) + words
    why = "midline M N is half of B C"
    reason = "midline is half of B C" if told else f"B@ C@ {whole // units} * {units} = {whole}"
    return Sketch(
        {**points, "M": m, "N": n}, TRIANGLE, long(rng, "M N", start), 
        (("M", f"{why} , first M between A@ B@"), ("N", f"{why} , now N between A@ C@"), ("MN", why)),
        str(whole // 2), f"{reason} , half of {whole}", ("length", "MN"),
        (("length", "BC", whole) if told else ("square", "", units),), not slanted,
    )  # fmt: skip


def right_angle_shape(rng: random.Random) -> Shape:
    """A quadrilateral with right angles at A and D whose bisector at A ends on the side C D."""
    width, height, wide = rng.randint(1, 6), rng.randint(1, 5), rng.randint(2, 6)
    return {"A": (0, 0), "B": (0, width), "C": (height, wide), "D": (height, 0)} if height < wide else None


def _with_bisector(points: Points) -> dict[str, Point] | str:
    """The points of such a quadrilateral with the end P of the bisector at A."""
    a, b, c, d = (points[role] for role in "ABCD")
    if not all(along_squares(*side) for side in ((a, b), (a, d), (d, c))) or dot(a, b, d) or dot(d, a, c):
        return "The angles at A and D must be 90 and lie along the squares; move the corner that is out of line."
    if not convex((a, b, c, d)):
        return "B and C must lie on the same side of A D; move one of them."
    height, wide = length(a, d), length(d, c)
    if height >= wide:
        return "The bisector at A would not meet C D between its ends; make C D longer than A D."
    return {**points, "P": (d[0] + (c[0] - d[0]) // wide * height, d[1] + (c[1] - d[1]) // wide * height)}


def bisector_shape(rng: random.Random) -> Shape:
    if rng.random() < 0.2:
        a, b = rng.choice(((2, 2), (4, 4), (6, 6), (3, 6)))
        return {"A": (0, 0), "B": (0, a), "C": (b, 0)}
    return right_angle_shape(rng)


def _with_foot_of_bisector(points: Points) -> dict[str, Point] | str:
    """The points of a triangle with a right angle at A and the end P of the bisector there."""
    a, b, c = (points[role] for role in "ABC")
    if not along_squares(a, b) or not along_squares(a, c) or dot(a, b, c):
        return "The angle at A must be 90 and lie along the squares; move B or C."
    first, second = length(a, b), length(a, c)
    part, rest = divmod(first * second, first + second)
    if rest:
        return "The bisector would meet B C between the corners of the squares; make A B and A C equally long, or 3 and 6 squares."
    steps = [((b[axis] - a[axis]) // first + (c[axis] - a[axis]) // second) * part for axis in (0, 1)]
    return {**points, "P": (a[0] + steps[0], a[1] + steps[1])}


def bisector_angle(points: Points, rng: random.Random) -> Sketch | str:
    four = "D" in points
    drawn = _with_bisector(points) if four else _with_foot_of_bisector(points)
    if isinstance(drawn, str):
        return drawn
    sides, last, base = (QUADRILATERAL, "D", "C D") if four else (TRIANGLE, "C", "B C")
    near = rng.choice(("B", last))
    start = f"A P is the bisector of angle B A {last} = 90 . P is on {base} . "
    why = "bisector from A@ cuts the angle of 90 in half"
    if four:
        first = f"A@ D@ {length(points['A'], points['D'])} , first P from D@ to C@"
    else:
        one, other = (length(points["A"], points[end]) for end in "BC")
        first = f"A@ B@ {one} , A@ C@ {other} , first P {abs(drawn['P'][0] - points['A'][0])} from both sides"
    return Sketch(
        drawn, sides, ask(rng, f"angle {near} A P", start), (("P", f"{why} , {first}"), ("AP", why)), "45", "bisector , half of 90",
        ("angle", f"{near}AP"), (("angle", f"BA{last}", 90),),
    )  # fmt: skip


def bisector_length(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(drawn := _with_bisector(points), str):
        return drawn
    units, words, given = scaled(rng)
    height, whole = length(points["A"], points["D"]), length(points["D"], points["C"])
    start = words + "A P is the bisector of angle B A D . P is on C D . "
    why = "bisector from A@ makes D P = A D"
    if rng.random() < 0.6:
        part, squares, reason = "D P", height, f"A@ D@ {height} , D P = A D"
    else:
        part, squares, reason = "P C", whole - height, f"D@ C@ {whole} , A@ D@ {height} , {whole} - {height} = {whole - height}"
    return Sketch(
        drawn, QUADRILATERAL, long(rng, part, start), (("P", f"{why} , A@ D@ {height} , first P from D@ to C@"), ("AP", why)),
        str(squares * units), reason + (f" , {squares} * {units}" if units > 1 else ""),
        ("length", part.replace(" ", "")), given,
    )  # fmt: skip


def isosceles_shape(rng: random.Random) -> Shape:
    """A triangle with A B = A C on a level or a slanted base."""
    if rng.random() < 0.5:
        half, height = rng.randint(1, 3), rng.randint(1, 6)
        return {"A": (0, 0), "B": (height, -half), "C": (height, half)}
    a, b = rng.randint(1, 6), rng.randint(-5, 5)
    c, d = rng.choice(((b, a), (-b, a)))
    return None if a == c or b == d else {"A": (0, 0), "B": (a, b), "C": (c, d)}


def apex_bisector(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c = (points[role] for role in "ABC")
    if squared(a, b) != squared(a, c):
        return "A B and A C must be equally long; move A to the same distance from B and C."
    if isinstance(drawn := with_midpoint(points), str):
        return drawn
    drawn["P"] = drawn.pop("M")
    start = "A B = A C . A P is the bisector of angle B A C . "
    why = "bisector from A@ goes to the midpoint of B@ C@"
    steps = (("P", f"{why} , first P"), ("AP", why))
    near = rng.choice("BC")
    chance = rng.random()
    if along_squares(b, c) and chance < 0.4:
        base, (units, words, given) = length(b, c), scaled(rng)
        return Sketch(drawn, TRIANGLE, long(rng, f"{near} P", words + start), steps, str(base // 2 * units),
                      f"B@ C@ {base} * {units} = {base * units} , half of {base * units}", ("length", f"{near}P"), given)  # fmt: skip
    if chance < 0.8:
        whole = 10 * rng.randint(2, 15)
        return Sketch(drawn, TRIANGLE, ask(rng, f"angle {near} A P", f"{LOOSE}{start}angle B A C = {whole} . "), steps, str(whole // 2),
                      f"bisector , half of {whole}", ("angle", f"{near}AP"), (("angle", "BAC", whole),), False)  # fmt: skip
    return Sketch(drawn, TRIANGLE, ask(rng, f"angle A P {near}", start), steps, "90", "A B = A C , so A P is the altitude",
                  ("angle", f"AP{near}"))  # fmt: skip


def perpendicular_bisector_shape(rng: random.Random) -> Shape:
    half, height = rng.randint(1, 3), rng.randint(1, 6)
    return {"A": (height, 0), "B": (height, 2 * half), "C": (0, half if rng.random() < 0.45 else rng.randint(-3, 6))}


def perpendicular_bisector(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c = (points[role] for role in "ABC")
    if not along_squares(a, b):
        return "Side A B must lie along the squares, level or upright; move A or B."
    middle = midpoint(a, b)
    if middle is None:
        return "The midpoint of A B would fall between the corners of the squares; move A or B by one square."
    if not cross(a, b, c):
        return _ONE_LINE
    end = (c[0], middle[1]) if a[0] == b[0] else (middle[0], c[1])
    why = "perpendicular bisector of A@ B@ is equally far from the ends"
    steps = (("M", f"{why} , first the midpoint"), ("MQ", "perpendicular to A@ B@ through the midpoint as far as C@"))
    equal, side = squared(a, c) == squared(b, c), "A" if squared(a, c) < squared(b, c) else "B"
    axis = int(a[0] == b[0])
    near = {role: abs(c[axis] - points[role][axis]) for role in "AB"}  # measured along A B, as the line cuts it in half
    reason = tuple(f"M@ Q@ , along line C@ from {one}@ {near[one]} , from {other}@ {near[other]}" for one, other in ("AB", "BA"))
    drawn = {**points, "M": middle, "Q": end}
    p, q = rng.sample("AB", 2)
    if rng.random() < 0.5:
        words = rng.choice((f"is C equally far from {p} and {q} ?", f"are {p} and {q} equally far from C ?"))
        return Sketch(drawn, TRIANGLE, words, steps, "yes" if equal else "no", reason, ("equal", "CAB"))
    words = rng.choice((f"is C nearer to {p} or {q} ?", f"which is nearer to C , {p} or {q} ?"))
    return Sketch(drawn, TRIANGLE, words, steps, "equal" if equal else side, reason, ("nearer", "CAB"))


def over_base_shape(rng: random.Random) -> Shape:
    base, height = rng.randint(2, 6), rng.randint(2, 6)
    return {"A": (height, 0), "B": (height, base), "C": (0, rng.randint(1, base - 1))}


def parallel_angle(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c = (points[role] for role in "ABC")
    if not along_squares(a, b):
        return "Side A B must lie along the squares, level or upright; move A or B."
    if not between(c, a, b):
        return "C must lie over A B, between its ends; move C."
    if length(c, under := foot(c, a, b)) < 2:
        return FLAT.format("C")
    first = 10 * rng.randint(2, 12)
    second = 10 * rng.randint(2, 12)
    while first + second > 160:
        first, second = 10 * rng.randint(2, 12), 10 * rng.randint(2, 12)
    drawn = {**points, "P": fourth(under, a, c), "Q": fourth(under, b, c)}
    words = f"angle C A B = {first} , angle A B C = {second} . "
    return Sketch(
        drawn, TRIANGLE, ask(rng, "angle A C B", LOOSE + words), (("PQ", "parallel to A@ B@ through C@ makes equal angles"),),
        str(180 - first - second), f"parallel line , 180 - {first} = {180 - first} , {180 - first} - {second}", ("angle", "ACB"),
        (("angle", "CAB", first), ("angle", "ABC", second)), False,
    )  # fmt: skip


def any_shape(rng: random.Random) -> Shape:
    return {role: (rng.randint(0, 6), rng.randint(0, 6)) for role in "ABCD"}


def quadrilateral_angle(points: Points, rng: random.Random) -> Sketch | str:
    if not convex(points[role] for role in "ABCD"):
        return "One corner points inwards, or sides cross; move one corner outwards."
    while True:
        first, second, third = (10 * rng.randint(5, 14) for _ in range(3))
        last = 360 - first - second - third
        if 30 <= last <= 160:
            break
    words = f"angle D A B = {first} , angle A B C = {second} , angle B C D = {third} . "
    return Sketch(
        dict(points), QUADRILATERAL, ask(rng, "angle C D A", LOOSE + words), (("DB", "diagonal D@ B@ cuts it into two triangles"),),
        str(last), f"two triangles , 360 - {first} = {360 - first} , {360 - first} - {second} = {last + third} , {last + third} - {third}",
        ("angle", "CDA"),
        (("angle", "DAB", first), ("angle", "ABC", second), ("angle", "BCD", third)), False,
    )  # fmt: skip


def square_shape(rng: random.Random) -> Shape:
    a, b = rng.randint(1, 6), rng.randint(0, 5)
    return {"A": (0, 0), "B": (b, a), "C": (a + b, a - b), "D": (a, -b)}


def square_angle(points: Points, rng: random.Random) -> Sketch | str:
    a, b, c, d = (points[role] for role in "ABCD")
    if dot(a, b, d) or squared(a, b) != squared(a, d) or fourth(a, b, d) != c:
        return "A B C D is no square yet; its sides must be equally long, with angles of 90."
    near = rng.choice("BD")
    return Sketch(
        dict(points), QUADRILATERAL, ask(rng, f"angle {near} A C", f"{around(rng)} is a square . "),
        (("AC", "diagonal A@ C@ halves the angle of 90"),), "45", "diagonal of a square , half of 90", ("angle", f"{near}AC"),
    )  # fmt: skip
