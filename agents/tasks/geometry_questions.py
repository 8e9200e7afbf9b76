"""Where geometry questions come from: endless random ones of every kind, split by the shape of their figure, and a visitor's."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agents.tasks import geometry_areas as areas
from agents.tasks import geometry_circles as circles
from agents.tasks import geometry_kinds as kinds
from agents.tasks.figure import SIDE, Point, Sheet
from agents.tasks.geometry_figures import CENTRE, LETTERS, Kind, lay_down, on_paper, retold, shape_of, too_near, write_down
from agents.tasks.geometry_pictures import place_letters
from agents.tasks.geometry_steps import Asked, Given, Question, Step, apply, drawn, next_step
from unimm.errors import BadInput

__all__ = [
    "KINDS", "SPLITS", "Asked", "Draft", "Given", "Question", "Sheet", "Step", "apply", "draft", "drawn", "generate", "next_step",
    "rebuild", "shape_key", "split_of",
]  # fmt: skip

SPLITS = ("train", "val", "test")
_TRIANGLE, _FOUR = ("ABC",), ("ABCD",)
KINDS: dict[str, Kind] = {
    "triangle_area": Kind("Area of a triangle by its altitude", _TRIANGLE, areas.leaning_shape, areas.triangle_area),
    "distance": Kind("Distance of a corner from a side", _TRIANGLE, areas.leaning_shape, areas.distance),
    "parallelogram_area": Kind(
        "Area of a parallelogram by its altitude", _FOUR, areas.parallelogram_shape, areas.parallelogram_area
    ),
    "trapezoid_area": Kind("Area of a trapezoid by its altitude", _FOUR, areas.trapezoid_shape, areas.trapezoid_area),
    "quadrilateral_area": Kind("Area of a quadrilateral by a diagonal", _FOUR, areas.quadrilateral_shape, areas.quadrilateral_area),
    "kite_area": Kind("Area of a kite by its diagonals", _FOUR, areas.kite_shape, areas.kite_area),
    "median_length": Kind("Half a side by a median", _TRIANGLE, areas.with_midpoint_shape, kinds.median_length),
    "median_area": Kind("Half a triangle by a median", _TRIANGLE, areas.with_midpoint_shape, areas.median_area),
    "midline": Kind("Midline of a triangle", _TRIANGLE, kinds.midline_shape, kinds.midline),
    "bisector_angle": Kind("Half a right angle by its bisector", ("ABC", "ABCD"), kinds.bisector_shape, kinds.bisector_angle),
    "bisector_length": Kind("Length by the bisector of a right angle", _FOUR, kinds.right_angle_shape, kinds.bisector_length),
    "apex_bisector": Kind("Bisector of an isosceles triangle", _TRIANGLE, kinds.isosceles_shape, kinds.apex_bisector),
    "perpendicular_bisector": Kind(
        "Nearer or equally far, by a perpendicular bisector", _TRIANGLE, kinds.perpendicular_bisector_shape, kinds.perpendicular_bisector
    ),
    "parallel_angle": Kind("Angle of a triangle by a parallel", _TRIANGLE, kinds.over_base_shape, kinds.parallel_angle),
    "quadrilateral_angle": Kind("Angle of a quadrilateral by a diagonal", _FOUR, kinds.any_shape, kinds.quadrilateral_angle),
    "square_angle": Kind("Angle at a square's diagonal", _FOUR, kinds.square_shape, kinds.square_angle),
    "rectangle_half": Kind("Half a rectangle by its diagonal", _FOUR, areas.rectangle_shape, areas.rectangle_half),
    "radius_length": Kind("Length of a radius", ("OAB",), circles.radius_length_shape, circles.radius_length),
    "radius_angle": Kind("Angle by a radius", ("OAB",), circles.radius_angle_shape, circles.radius_angle),
    "thales": Kind("Angle over a diameter", ("OABC",), circles.thales_shape, circles.thales),
    "inscribed_angle": Kind("Angle over an arc, by chords", ("OABC",), circles.inscribed_angle_shape, circles.inscribed_angle),
}  # fmt: skip
"""Kind of question -> how one of it is made."""
_FEW_SHAPES = ("square_angle", "rectangle_half")
_TRIES = 8


@dataclass(frozen=True)
class Draft:
    """A question and what it can be built from again: the letter of each role, and the seed of its words and numbers."""

    question: Question
    letters: tuple[tuple[str, str], ...]
    seed: int


def shape_key(question: Question) -> str:
    """What questions of one shape have in common, and no others; its hash decides about the split.

    The kind and the figure's points up to translation, rotation by 90 degrees and reflection. Circles, squares and rectangles
    have too few shapes for that: for them the place on the paper and the direction count as well.
    """
    figure = question.figure
    if figure.circle is None and question.kind not in _FEW_SHAPES:
        return f"{question.kind} {shape_of(figure)}"
    return f"{question.kind} {sorted(point for _, point in figure.points)} {figure.circle} {figure.sides}"


def split_of(question: Question) -> str:
    """Which split a question belongs to: about 80 % train, 10 % val, 10 % test."""
    # the number is one that leaves every kind some shapes in each split
    part = int.from_bytes(hashlib.sha256(f"geometry 488 {shape_key(question)}".encode()).digest()[:8], "big") % 10
    return {0: "test", 1: "val"}.get(part, "train")


def generate(split: str, source: int | random.Random, kind: str | None = None) -> Question:
    """Question number ``source`` of a split (the same for the same arguments), or the next one from a random stream.

    Raises ``BadInput`` for an unknown split or kind.
    """
    return draft(split, source, kind).question


def draft(split: str, source: int | random.Random, kind: str | None = None) -> Draft:
    """The same question as ``generate``, with what it can be built from again."""
    if split not in SPLITS or (kind is not None and kind not in KINDS):
        raise BadInput(f"A geometry question has a split of {', '.join(SPLITS)} and a kind of {', '.join(KINDS)}.")
    if isinstance(source, random.Random):
        rng = source
    else:
        rng = random.Random(int.from_bytes(hashlib.sha256(repr(("geometry", split, source, kind)).encode()).digest()[:8], "big"))
    kind = kind or rng.choice(list(KINDS))
    while True:
        points, seed = KINDS[kind].shape(rng), rng.getrandbits(32)
        sketch = KINDS[kind].make(points, random.Random(seed)) if points is not None else ""
        if isinstance(sketch, str) or (placed := lay_down(rng, sketch)) is None:
            continue
        question = write_down(kind, *placed)
        if split_of(question) == split:
            return Draft(replace(question, figure=place_letters(question.figure)), tuple(placed[1].items()), seed)


def rebuild(kind: str, letters: Mapping[str, str], points: Mapping[str, Point], seed: int) -> Question:
    """The question of a kind about points anywhere on the paper; ``letters`` is role -> letter, ``points`` letter -> point.

    Raises ``BadInput``, with what to move, where the figure does not suit.
    """
    _check(kind, letters, points)
    if near := too_near(points):
        raise BadInput(f"{near[0]} and {near[1]} are too near to each other for their letters; leave at least one corner between them.")
    at, why = {role: points[letter] for role, letter in letters.items()}, ""
    for attempt in range(_TRIES):  # where the words by this seed do not suit the figure, others may
        sketch = KINDS[kind].make(at, random.Random(seed if attempt == 0 else f"{seed} {attempt}"))
        if not isinstance(sketch, str) and on_paper(sketch):
            question = write_down(kind, sketch, letters)
            return replace(question, figure=place_letters(question.figure))
        why = why or (sketch if isinstance(sketch, str) else "The figure would reach over the edge of the paper; move it inwards.")
    raise BadInput(retold(why, letters))


def _check(kind: str, letters: Mapping[str, str], points: Mapping[str, Point]) -> None:
    """Raise ``BadInput`` where these are not the letters and points of a figure on the paper."""
    if kind not in KINDS:
        raise BadInput(f"There is no kind of question {kind[:40]!r}. Choose one of: {', '.join(KINDS)}.")
    names = list(letters.values())
    if sorted(letters) not in [sorted(roles) for roles in KINDS[kind].roles] or set(names) != set(points):
        raise BadInput(f"The figure of this question has the points {' or '.join(KINDS[kind].roles)}; give each one letter and one place.")
    named = all(letter == CENTRE if role == CENTRE else letter in LETTERS for role, letter in letters.items())
    if not named or len(set(names)) < len(names):
        raise BadInput(f"Points are called by different letters from {LETTERS[0]} to {LETTERS[-1]}, and a circle's centre is {CENTRE}.")
    for letter, point in points.items():
        if not all(1 <= at < SIDE for at in point):
            raise BadInput(f"{letter} is not on the paper; its rows and columns go from 1 to {SIDE - 1}.")
    if len(set(points.values())) < len(points):
        raise BadInput("Two points lie on the same corner of the paper; move one of them.")
