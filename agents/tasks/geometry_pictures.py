"""Geometry sheets as pixels: squared paper, the given figure in ink, what was drawn into it in orange."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from einops import rearrange
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from agents.tasks.figure import SIDE, Figure, Point, Segment, Sheet, Square
from unimm.document import Image

SQUARE_PX = 32
SHOWN_PX = SIDE * SQUARE_PX
PAPER, GRID, INK, ORANGE = (0xFF, 0xFF, 0xFF), (0xCB, 0xD5, 0xE1), (0x1F, 0x29, 0x37), (0xEA, 0x58, 0x0C)
INK_PX, VERTEX_PX = 3.0, 4.5
"""Width of the lines of the figure; radius of the dots at its points."""
LINE_PX, MARK_PX = 4.0, 7.0
"""Width of the lines that are drawn in; radius of marks."""
LETTERS = string.ascii_uppercase
_FONT_PX, _BOLD_PX, _FINER = 24, 0.75, 4
_LETTER_BOX = 11.5 / SQUARE_PX  # half of the side of the box that a letter fills, in squares

Stain = tuple[np.ndarray, np.ndarray]
"""Where one stroke leaves colour: indices into the flat picture, ascending, and how much, uint8 of the same length."""


def render(sheet: Sheet) -> Image:
    """The picture that is shown and judged, 256 x 256 px."""
    return Image(SHOWN_PX, SHOWN_PX, render_pixels(sheet).tobytes())


def render_pixels(sheet: Sheet) -> np.ndarray:
    """The picture that is shown and judged: uint8 [256, 256, 3]."""
    pixels = _figure_pixels(sheet.figure).copy()
    _blend(pixels, orange_cover(sheet.lines, sheet.marks), ORANGE)
    return rearrange(pixels, "(y x) rgb -> y x rgb", y=SHOWN_PX)


def canvas(sheet: Sheet) -> np.ndarray:
    """The picture that the model works on: uint8 [128, 128, 3], every pixel the mean of 2 x 2 shown ones."""
    return halved(render_pixels(sheet))


def halved(shown: np.ndarray) -> np.ndarray:
    """Pixels at half their size, rounded: uint8 [H, W, 3] -> [H / 2, W / 2, 3]."""
    rows = shown[::2].astype(np.uint16) + shown[1::2]
    return ((rows[:, ::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)


def ink_cover(figure: Figure) -> np.ndarray:
    """How much of every pixel the figure covers, letters included: uint8 [256 * 256]."""
    circle = [circle_stain(*figure.circle)] if figure.circle else []
    sides = (line_stain(side, INK_PX) for side in figure.sides)
    dots = (dot_stain(point, VERTEX_PX) for _, point in figure.points)
    return _cover((*circle, *sides, *dots, *(letter_stain(*letter) for letter in figure.letters)))


def orange_cover(lines: Iterable[Segment], marks: Iterable[Point]) -> np.ndarray:
    """How much of every pixel lines and marks cover: uint8 [256 * 256]."""
    return _cover((*(line_stain(line, LINE_PX) for line in lines), *(dot_stain(mark, MARK_PX) for mark in marks)))


def _cover(stains: Iterable[Stain]) -> np.ndarray:
    cover = np.zeros(SHOWN_PX * SHOWN_PX, np.uint8)
    for where, alpha in stains:
        cover[where] = np.maximum(cover[where], alpha)
    return cover


def _blend(pixels: np.ndarray, cover: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Lay one colour over flat pixels, uint8 [pixel, 3], in place."""
    where = np.flatnonzero(cover)
    alpha = cover[where, None].astype(np.uint32)
    pixels[where] = (pixels[where] * (255 - alpha) + np.array(colour, np.uint32) * alpha + 127) // 255


@cache
def _paper() -> np.ndarray:
    """White with a small light cross at every lattice point, uint8 [256 * 256, 3]."""
    pixels = np.full((SHOWN_PX, SHOWN_PX, 3), PAPER, np.uint8)
    for r in range(1, SIDE):
        for c in range(1, SIDE):
            y, x = r * SQUARE_PX, c * SQUARE_PX
            pixels[y - 1 : y + 1, x - 3 : x + 3] = pixels[y - 3 : y + 3, x - 1 : x + 1] = GRID
    return rearrange(pixels, "y x rgb -> (y x) rgb")


@lru_cache(256)
def _figure_pixels(figure: Figure) -> np.ndarray:
    """The sheet before anything is drawn into it; kept, since a figure is drawn many times with different lines."""
    pixels = _paper().copy()
    _blend(pixels, ink_cover(figure), INK)
    pixels.flags.writeable = False
    return pixels


@cache
def _centres() -> tuple[np.ndarray, np.ndarray]:
    """(y, x) of the middle of every pixel, float32 [256 * 256] each."""
    y, x = np.mgrid[:SHOWN_PX, :SHOWN_PX].astype(np.float32) + 0.5
    return y.ravel(), x.ravel()


def _stain(alpha: np.ndarray) -> Stain:
    levels = np.round(np.clip(alpha, 0, 1) * 255).astype(np.uint8).ravel()
    where = np.flatnonzero(levels).astype(np.int32)
    return where, levels[where]


@lru_cache(4096)
def line_stain(line: Segment, width: float) -> Stain:
    """A straight stroke with round ends between two lattice points."""
    y, x = _centres()
    (py, px), (qy, qx) = ((r * SQUARE_PX, c * SQUARE_PX) for r, c in line)
    dy, dx = qy - py, qx - px
    along = np.clip(((y - py) * dy + (x - px) * dx) / (dy * dy + dx * dx), 0, 1)
    return _stain(width / 2 + 0.5 - np.hypot(y - py - along * dy, x - px - along * dx))


@lru_cache(512)
def dot_stain(point: Point, radius: float) -> Stain:
    y, x = _centres()
    return _stain(radius + 0.5 - np.hypot(y - point[0] * SQUARE_PX, x - point[1] * SQUARE_PX))


@lru_cache(512)
def circle_stain(centre: Point, radius: int, width: float = INK_PX) -> Stain:
    """The outline of a circle."""
    y, x = _centres()
    from_outline = np.abs(np.hypot(y - centre[0] * SQUARE_PX, x - centre[1] * SQUARE_PX) - radius * SQUARE_PX)
    return _stain(width / 2 + 0.5 - from_outline)


@cache
def glyph(letter: str) -> np.ndarray:
    """A bold letter in the middle of a square: cover 0 to 1, float32 [32, 32]."""
    fine = PILImage.new("L", (SQUARE_PX * _FINER, SQUARE_PX * _FINER))
    draw, font = ImageDraw.Draw(fine), ImageFont.load_default(size=_FONT_PX * _FINER)
    bold, middle = round(_BOLD_PX * _FINER), SQUARE_PX * _FINER / 2
    left, top, right, bottom = draw.textbbox((0, 0), letter, font=font, stroke_width=bold)
    draw.text((middle - (left + right) / 2, middle - (top + bottom) / 2), letter, fill=255, font=font, stroke_width=bold)
    return np.asarray(fine.reduce(_FINER), np.float32) / 255


@lru_cache(2048)
def letter_stain(letter: str, square: Square) -> Stain:
    alpha = np.zeros((SHOWN_PX, SHOWN_PX), np.float32)
    y, x = square[0] * SQUARE_PX, square[1] * SQUARE_PX
    alpha[y : y + SQUARE_PX, x : x + SQUARE_PX] = glyph(letter)
    return _stain(alpha)


def place_letters(figure: Figure) -> Figure:
    """The figure with every letter in one of the four squares around its point: clear of lines and other letters, outside
    of the figure and away from its middle where that is possible. The same figure always gets the same places."""
    middle = np.mean([point for _, point in figure.points], axis=0)
    choices = [
        (letter, sorted((_cost(figure, square, middle), square) for square in squares_around(point))) for letter, point in figure.points
    ]
    best = min(_placings(choices, frozenset()), key=lambda placing: placing[0], default=(0.0, ()))
    return replace(figure, letters=best[1])


def squares_around(point: Point) -> tuple[Square, ...]:
    """The four squares that meet at a lattice point."""
    r, c = point
    return ((r - 1, c - 1), (r - 1, c), (r, c - 1), (r, c))


def _placings(
    choices: list[tuple[str, list[tuple[float, Square]]]], taken: frozenset[Square]
) -> Iterator[tuple[float, tuple[tuple[str, Square], ...]]]:
    """Ways to give every letter its own square, each with its cost; the cheapest ones come early."""
    if not choices:
        yield 0.0, ()
        return
    (letter, options), *rest = choices
    for cost, square in options:
        if square not in taken:
            for more, letters in _placings(rest, taken | {square}):
                yield cost + more, ((letter, square), *letters)


def _cost(figure: Figure, square: Square, middle: np.ndarray) -> float:
    """How bad a square is for a letter: lines through it weigh most, then the inside of the figure, then nearness to its middle."""
    y, x = square[0] + 0.5, square[1] + 0.5
    crossed = sum(_crosses(side, y, x) for side in figure.sides) + _on_circle(figure, y, x)
    return 100.0 * crossed + 10.0 * _inside(figure, y, x) - float(np.hypot(y - middle[0], x - middle[1])) / SIDE


def _crosses(side: Segment, y: float, x: float) -> bool:
    """Whether a side passes through the box of a letter that stands in the middle (y, x) of a square."""
    (py, px), (qy, qx) = side
    lo, hi = 0.0, 1.0
    for at, start, step in ((y, py, qy - py), (x, px, qx - px)):  # the part of the side that lies between the edges of the box
        edges = (at - _LETTER_BOX - start, at + _LETTER_BOX - start)
        if step == 0:
            if not edges[0] < 0 < edges[1]:
                return False
            continue
        near, far = sorted(edge / step for edge in edges)
        lo, hi = max(lo, near), min(hi, far)
    return lo < hi


def _on_circle(figure: Figure, y: float, x: float) -> bool:
    if figure.circle is None:
        return False
    (cy, cx), radius = figure.circle
    near = np.hypot(max(abs(y - cy) - _LETTER_BOX, 0), max(abs(x - cx) - _LETTER_BOX, 0))
    far = np.hypot(abs(y - cy) + _LETTER_BOX, abs(x - cx) + _LETTER_BOX)
    return bool(near < radius < far)


def _inside(figure: Figure, y: float, x: float) -> bool:
    """Whether a place is within the circle or the sides (by the parity of the sides to the right of it)."""
    if figure.circle and np.hypot(y - figure.circle[0][0], x - figure.circle[0][1]) < figure.circle[1]:
        return True
    crossings = sum((py > y) != (qy > y) and px + (y - py) * (qx - px) / (qy - py) > x for (py, px), (qy, qx) in figure.sides)
    return crossings % 2 == 1
