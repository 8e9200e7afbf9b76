"""The kinds of question about circles: radii and chords to named points at the four ends of the upright and level diameters."""

from __future__ import annotations

import random

from agents.tasks.figure import Point
from agents.tasks.geometry_areas import Shape
from agents.tasks.geometry_figures import Points, Sketch
from agents.tasks.geometry_lattice import along_squares, length
from agents.tasks.geometry_phrases import LOOSE, ask, long


def _circle(rng: random.Random, *quarters: int) -> dict[str, Point]:
    """The centre O, then A, B, ... at the given quarters of a turn."""
    radius = rng.choice((2, 2, 3))
    ends = ((-radius, 0), (0, radius), (radius, 0), (0, -radius))
    return {"O": (0, 0)} | {role: ends[quarter] for role, quarter in zip("ABC", quarters, strict=False)}


def _radius(points: Points) -> int | str:
    """The radius of the circle around O that all other points are on."""
    others = [role for role in points if role != "O"]
    for role in others:
        if not along_squares(points["O"], points[role]):
            return f"{role} must lie on the circle straight above, below, left or right of O; move it there."
    radii = {role: length(points["O"], points[role]) for role in others}
    for role in others[1:]:
        if radii[role] != radii[others[0]]:
            return f"O is the centre, so {others[0]} and {role} must be equally far from it; move one of them."
    return radii[others[0]]


def _opposite(points: Points) -> bool:
    a, b, o = points["A"], points["B"], points["O"]
    return (a[0] + b[0], a[1] + b[1]) == (2 * o[0], 2 * o[1])


def radius_length_shape(rng: random.Random) -> Shape:
    return _circle(rng, 0, rng.choice((1, 2)))


def radius_length(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(radius := _radius(points), str):
        return radius
    whole = radius * rng.randint(1, 12)
    start = f"O is the centre . O A = {whole} . "
    return Sketch(dict(points), ("OA",), long(rng, "O B", start), (("OB", "radius O@ B@ is equal to O A"),), str(whole),
                  f"radius , O B = O A = {whole}", ("length", "OB"), (("length", "OA", whole),), radius=radius)  # fmt: skip


def radius_angle_shape(rng: random.Random) -> Shape:
    return _circle(rng, 0, 1)


def radius_angle(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(radius := _radius(points), str):
        return radius
    if _opposite(points):
        return "O A and O B lie on one line, so there is no triangle; move A or B by a quarter of the circle."
    angle = 10 * rng.randint(1, 8)
    start = f"{LOOSE}O is the centre . angle O A B = {angle} . "
    if rng.random() < 0.5:
        asked, answer, reason = "O B A", angle, "O A = O B , equal angles"
    else:
        asked, answer, reason = "A O B", 180 - 2 * angle, f"O A = O B , 180 - {angle} = {180 - angle} , {180 - angle} - {angle}"
    return Sketch(dict(points), ("OA", "AB"), ask(rng, f"angle {asked}", start), (("OB", "radius O@ B@ makes O A B isosceles"),),
                  str(answer), reason, ("angle", asked.replace(" ", "")), (("angle", "OAB", angle),), False, radius)  # fmt: skip


def thales_shape(rng: random.Random) -> Shape:
    return _circle(rng, 0, 2, 1)


def thales(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(radius := _radius(points), str):
        return radius
    if not _opposite(points):
        return "A B is no diameter yet; move B to the end of the circle opposite of A."
    first, second = rng.sample("AB", 2)
    why = "chords from C to the ends of the diameter make 90"
    steps = (("C" + first, f"{why} , first C@ {first}@"), ("C" + second, f"{why} , now C@ {second}@"))
    start = f"{first} {second} is a diameter . "
    if rng.random() < 0.3:
        return Sketch(dict(points), ("AB",), ask(rng, f"angle {first} C {second}", start), steps, "90", "angle on a diameter is 90",
                      ("angle", f"{first}C{second}"), radius=radius)  # fmt: skip
    angle = 10 * rng.randint(1, 8)
    start = f"{LOOSE}{start}C is on the circle . angle {first} {second} C = {angle} . "
    return Sketch(dict(points), ("AB",), ask(rng, f"angle {second} {first} C", start), steps, str(90 - angle),
                  f"angle at C is 90 , 90 - {angle}", ("angle", f"{second}{first}C"), (("angle", f"{first}{second}C", angle),), False,
                  radius)  # fmt: skip


def inscribed_angle_shape(rng: random.Random) -> Shape:
    return _circle(rng, 0, 1, rng.choice((2, 3)))


def inscribed_angle(points: Points, rng: random.Random) -> Sketch | str:
    if isinstance(radius := _radius(points), str):
        return radius
    if _opposite(points):
        return "A B is a diameter; move B by a quarter of the circle, so that O A and O B make an angle."
    first, second = rng.sample("AB", 2)
    why = "chords from C make half the angle at O"
    steps = (("C" + first, f"{why} , first C@ {first}@"), ("C" + second, f"{why} , now C@ {second}@"))
    angle = 90 if rng.random() < 0.3 else 10 * rng.randint(2, 16)
    start = f"{'' if angle == 90 else LOOSE}O is the centre . angle {first} O {second} = {angle} . "
    return Sketch(dict(points), ("OA", "OB"), ask(rng, f"angle {first} C {second}", start), steps, str(angle // 2),
                  f"half of the angle at O , half of {angle}", ("angle", f"{first}C{second}"), (("angle", f"{first}O{second}", angle),),
                  angle == 90, radius)  # fmt: skip
