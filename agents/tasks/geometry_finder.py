"""The figure itself from pixels, for sheets that a visitor brings: sides, circle, letters and the points they stand at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from agents.tasks.figure import SIDE, Figure, Point, Segment, Square
from agents.tasks.geometry_pictures import (
    INK_PX,
    LETTERS,
    SHOWN_PX,
    SQUARE_PX,
    VERTEX_PX,
    circle_stain,
    glyph,
    place_letters,
    squares_around,
)
from agents.tasks.geometry_strokes import LATTICE, Covers, dot_share, explained, find_circle, find_lines, smoothed

_LIKE, _SURELY = 0.72, 0.78  # correlation with its glyph that a letter needs: an expected one, and any other
_CLEARLY = 0.03  # by this much another letter must fit better to be read instead of the expected one
_FEW_PX = 12.0  # less ink than this in a square is no letter
_VISIBLE = 0.8  # a letter of which orange hides more is taken to be there
_POINT = 0.5  # share of a vertex dot that has to be there
_EDGE = 3  # pixels at the edge of a square where lines may run beside a letter
_SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2))


def find_figure(seen: Covers, drawn: Iterable[Point] = ()) -> Figure | None:
    """The figure that the ink of a sheet shows; None where there are no two letters in it. Sides on one line come as one.

    ``drawn`` are the ends of orange lines and the marks, which may hide points of the figure.
    """
    ink = np.where(seen.over_figure, 0, seen.ink)
    letters = [(letter, (r, c)) for r in range(SIDE) for c in range(SIDE) if (letter := best_letter(seen, (r, c)))]
    letters = [entry for entry in letters if [name for name, _ in letters].count(entry[0]) == 1]
    for _, (r, c) in letters:
        rows, columns = (slice(at * SQUARE_PX + 4, (at + 1) * SQUARE_PX - 4) for at in (r, c))
        ink[rows, columns] = 0
    if len(letters) < 2:
        return None
    circle = find_circle(ink, INK_PX, seen.over_figure)
    taken = np.zeros(SHOWN_PX * SHOWN_PX, bool)
    if circle:
        taken[circle_stain(*circle, INK_PX + 10)[0]] = True
    sides = find_lines(ink, INK_PX, taken.reshape(ink.shape), seen.over_figure)
    return _named(ink, sides, circle, sorted(letters), {*drawn})


@cache
def _templates() -> np.ndarray:
    """All letters as zero-mean unit vectors, float32 [letter, pixel]."""
    flat = np.stack([smoothed(glyph(letter), 3)[_EDGE:-_EDGE, _EDGE:-_EDGE].ravel() for letter in LETTERS])
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def best_letter(seen: Covers, square: Square, expected: str | None = None) -> str | None:
    """The letter in a square, or None; of letters that fit about as well the expected one. What orange covers is not looked at."""
    y, x = square[0] * SQUARE_PX, square[1] * SQUARE_PX
    clear = ~seen.over_figure[y : y + SQUARE_PX, x : x + SQUARE_PX]
    inside = seen.ink[y : y + SQUARE_PX, x : x + SQUARE_PX] * clear
    if inside.sum() < _FEW_PX and (clear.mean() > _VISIBLE or not expected):
        return None
    patch = smoothed(inside, 3)
    inner = slice(_EDGE, SQUARE_PX - _EDGE)
    moved = [np.roll(patch, shift, (0, 1))[inner, inner].ravel() for shift in _SHIFTS]
    stack = np.stack(moved)
    stack = stack - stack.mean(1, keepdims=True)
    fits = (_templates() @ (stack / np.maximum(np.linalg.norm(stack, axis=1, keepdims=True), 1e-6)).T).max(1)
    if expected and (clear.mean() <= _VISIBLE or fits[LETTERS.index(expected)] > max(_LIKE, fits.max() - _CLEARLY)):
        return expected
    fits[LETTERS.index("I")] = 0  # looks like a line
    return LETTERS[fits.argmax()] if fits.max() > _SURELY else None


def _named(
    ink: np.ndarray,
    sides: frozenset[Segment],
    circle: tuple[Point, int] | None,
    letters: list[tuple[str, Square]],
    hidden: set[Point],
) -> Figure | None:
    """Give every letter one of the points at the corners of its square: one where sides end or a dot is."""
    drawn = explained(sides, INK_PX + 1)
    if circle:
        drawn.ravel()[circle_stain(*circle, INK_PX + 1)[0]] = True
    ends = {end for side in sides for end in side} | hidden
    marked = [point for point in LATTICE if point in ends or dot_share(ink, point, VERTEX_PX, drawn) > _POINT]
    near = {letter: [point for point in marked if square in squares_around(point)] for letter, square in letters}
    letters = [entry for entry in letters if near[entry[0]]]  # a shape beside no point is no letter
    options = [near[letter] for letter, _ in letters]
    fallback: Figure | None = None
    for points in _distinct(options):
        named = tuple((letter, point) for (letter, _), point in zip(letters, points, strict=True))
        figure = Figure(_shape(len(named), circle), named, tuple(sorted(sides)), circle, tuple(letters))
        fallback = fallback or figure
        if len(points) > 1 and set(place_letters(figure).letters) == set(letters):
            return figure
    return fallback


def _distinct(options: list[list[Point]], used: tuple[Point, ...] = ()) -> Iterator[tuple[Point, ...]]:
    """Ways to take a different point from every list."""
    if not options:
        yield used
        return
    for point in options[0]:
        if point not in used:
            yield from _distinct(options[1:], (*used, point))


def _shape(points: int, circle: tuple[Point, int] | None) -> str:
    return "circle" if circle else "triangle" if points == 3 else "quadrilateral"
