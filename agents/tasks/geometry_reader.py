"""Pixels of a geometry sheet to its structure: marks and lines drawn in, and whether the given figure is still there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from einops import rearrange
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image as PILImage

from agents.tasks.figure import Figure, Point, Segment, Sheet, Square
from agents.tasks.geometry_finder import best_letter, find_figure
from agents.tasks.geometry_pictures import INK_PX, LINE_PX, MARK_PX, SHOWN_PX, SQUARE_PX, dot_stain, render
from agents.tasks.geometry_strokes import Covers, broken, by_square, covers, explained, find_lines, find_marks, smoothed, widened
from unimm.document import Image

STRAY_PX = 24.0
"""Pixels of a square that may have a colour that no line or mark explains."""
DAMAGE_PX = 24.0
"""Pixels of a square whose ink may differ from the figure's, more where there is much ink."""
_DAMAGE_SHARE = 0.3
_GONE = 2.0  # share that what is broken, or another letter, counts as
_BESIDE_PX = 6.0  # colour this near to a line or mark belongs to it
_OFF_PX = 6  # what is drawn in a square may be off by this much as a whole


@dataclass(frozen=True)
class Reading:
    """What a picture shows. ``sheet`` is None where it is no geometry sheet at all (not square, tiny, no figure in it).

    ``unclear`` are the squares in which the given figure is damaged, what is drawn in is not as it is drawn, or a colour is left that
    nothing explains, the worst first;
    ``stray`` says whether there is such colour. ``wear`` are, square by square (8 x 8), the wrong pixels as a share of those that are
    allowed: more than 1 is damage. Empty without a sheet.
    """

    sheet: Sheet | None
    unclear: tuple[Square, ...] = ()
    stray: bool = False
    wear: tuple[float, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Wrong:
    """How much is wrong in every square [8, 8]: pixels, 0 where they are few, and the share that they are of those allowed."""

    pixels: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, wrong: np.ndarray, allowed: np.ndarray | float) -> Wrong:
        return cls(np.where(wrong > allowed, wrong, 0), wrong / allowed)


def read(image: Image, figure: Figure | None = None) -> Reading:
    """Read a drawn sheet of a known figure; without ``figure`` that is read from the pixels as well."""
    seen = covers(image)
    if seen is None:
        return Reading(None)
    lines = find_lines(seen.orange, LINE_PX)
    marks = find_marks(seen.orange, lines)
    figure = figure or find_figure(seen, {*marks, *(end for line in lines for end in line)})
    stray = _stray(seen, lines, marks)
    if figure is None:
        return Reading(None, _worst(stray.pixels), bool(stray.pixels.any()))
    sheet = Sheet(figure, marks, lines)
    ink, colour = _damage(seen, figure), _spoilt(seen.orange, sheet)
    wear = np.maximum.reduce([stray.share, ink.share, colour.share])
    return Reading(sheet, _worst(stray.pixels + ink.pixels + colour.pixels), bool(stray.pixels.any()), tuple(wear.ravel().tolist()))


def unlike(image: Image, other: Image) -> frozenset[Square]:
    """The squares in which two shown pictures differ by as much as makes a figure damaged."""
    one, two = (_paint(picture) for picture in (image, other))
    apart, most = by_square(np.abs(one - two).max(0)), np.maximum(*(by_square(paint.max(0)) for paint in (one, two)))
    return frozenset((int(r), int(c)) for r, c in np.argwhere(apart > _allowed(most)))


def _paint(image: Image) -> np.ndarray:
    """How far a picture is from white, from 0 to 1, smoothed as ink is that is held against a figure's: [rgb, 256, 256]."""
    rgb = np.asarray(image.to_pil().resize((SHOWN_PX, SHOWN_PX), PILImage.Resampling.BILINEAR), np.float32)
    return np.stack([smoothed(1 - channel / 255, 5) for channel in rearrange(rgb, "y x rgb -> rgb y x")])


def _worst(badness: np.ndarray) -> tuple[Square, ...]:
    """Squares of positive badness [8, 8], the worst first."""
    order = sorted((-badness[r, c], int(r), int(c)) for r, c in np.argwhere(badness > 0))
    return tuple((r, c) for _, r, c in order)


def _stray(seen: Covers, lines: frozenset[Segment], marks: frozenset[Point]) -> Wrong:
    """Pixels of colour that nothing explains."""
    known = explained(lines, LINE_PX + 2 * _BESIDE_PX).ravel()
    for mark in marks:
        known[dot_stain(mark, MARK_PX + _BESIDE_PX)[0]] = True
    loose = (smoothed(seen.orange, 3) > 0.4) & ~known.reshape(seen.orange.shape) | seen.foreign
    return Wrong.of(by_square(loose), STRAY_PX)


def _spoilt(orange: np.ndarray, sheet: Sheet) -> Wrong:
    """Pixels of colour that are wrong: a line with many has gaps, is bent, or hardly there.

    What is drawn in may be off by _OFF_PX as a whole.
    """
    drawn, wanted = smoothed(orange, 5), smoothed(_covers_of(sheet).orange, 5)
    wrong, allowed = by_square(np.abs(drawn - wanted)), _allowed(by_square(np.maximum(drawn, wanted)))
    padded, wide = np.pad(drawn, _OFF_PX), SQUARE_PX + 2 * _OFF_PX
    for row, column in np.argwhere(wrong > allowed):
        y, x = int(row) * SQUARE_PX, int(column) * SQUARE_PX
        there = wanted[y : y + SQUARE_PX, x : x + SQUARE_PX]
        views = sliding_window_view(padded[y : y + wide, x : x + wide], there.shape)[::2, ::2]
        wrong[row, column] = np.abs(views - there).sum((2, 3)).min()
    return Wrong.of(wrong, allowed)


def _allowed(amount: np.ndarray) -> np.ndarray:
    """Pixels that may be wrong in squares with so many pixels of ink or colour."""
    return DAMAGE_PX + _DAMAGE_SHARE * amount


@lru_cache(256)
def _covers_of(sheet: Sheet) -> Covers:
    """What a sheet's own picture holds of each colour."""
    seen = covers(render(sheet))
    assert seen is not None
    return seen


def _damage(seen: Covers, figure: Figure) -> Wrong:
    """Pixels of ink that are wrong, and of sides and letters that are missing. What orange covers is not looked at."""
    given, clear = _covers_of(Sheet(figure)).ink, ~seen.over_figure
    ink = Wrong.of(by_square(np.abs(smoothed(seen.ink, 5) - smoothed(given, 5)) * clear), _allowed(by_square(given * clear)))
    near = widened(smoothed(seen.ink, 3) > 0.25, 3) | seen.over_figure
    damage = np.maximum(ink.pixels, INK_PX * broken(near, figure.sides, figure.circle))
    for letter, (r, c) in figure.letters:
        if best_letter(seen, (r, c), letter) != letter:
            damage[r, c] += DAMAGE_PX
    return Wrong(damage, np.where((damage > 0) & (ink.pixels == 0), np.maximum(ink.share, _GONE), ink.share))
