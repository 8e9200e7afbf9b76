"""Strokes in the pixels of a geometry sheet: how much ink and orange every pixel holds, and which lines and dots they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from einops import rearrange, reduce
from PIL import Image as PILImage

from agents.tasks.figure import SIDE, Point, Segment
from agents.tasks.geometry_pictures import LINE_PX, MARK_PX, SHOWN_PX, SQUARE_PX, dot_stain, line_stain
from agents.tasks.geometry_rules import joined, segments_between
from unimm.document import Image

END_TOLERANCE_PX = 10.0
"""A line may end, or be broken, by this much and still count (about a third of a square)."""
ASIDE_TOLERANCE_PX = 8.0
"""How far beside its place a line may run at one end; at the smallest length, one square, that is an angle of 14 degrees."""
LATTICE: tuple[Point, ...] = tuple((r, c) for r in range(1, SIDE) for c in range(1, SIDE))
_SMALLEST_PX = 64
_COVERED = 0.4  # a pixel that has this much of a colour is covered by it; noise of 10 levels stays at half of that
_REACH = int(ASIDE_TOLERANCE_PX - LINE_PX / 2)
_STEP_PX = 3  # between the samples along a line
_NEW = 0.35  # share of a line that other lines must not explain
_ROUND = 0.7  # share of a circle in whose middle the colour has to be: a square is no circle
_DOT = 0.55  # share of a dot that has to be covered
_OWN_PX = 5  # a line explains what colour there is up to this far from its middle


@dataclass(frozen=True)
class Covers:
    """What a picture holds of each colour: float32 [256, 256] from 0 to 1, and where it holds other colours, bool [256, 256]."""

    ink: np.ndarray
    orange: np.ndarray
    foreign: np.ndarray

    @cached_property
    def over_figure(self) -> np.ndarray:
        """Where orange may hide or tint the figure, bool [256, 256]."""
        return widened(self.orange > 0.2, 2)


def covers(image: Image) -> Covers | None:
    """Take a picture of any size apart into its colours; None where it is not square, or tiny.

    The commonest colour counts as paper, so that a picture that is a little darker or tinted throughout reads the same.
    """
    if image.width != image.height or image.width < _SMALLEST_PX:
        return None
    pixels = np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)
    if image.width != SHOWN_PX:
        pixels = np.asarray(PILImage.fromarray(pixels).resize((SHOWN_PX, SHOWN_PX), PILImage.Resampling.BILINEAR))
    paper = np.median(pixels[::4, ::4].reshape(-1, 3), axis=0)
    red, green, blue = rearrange(pixels.astype(np.float32) + np.clip(255 - paper, 0, 40).astype(np.float32), "y x rgb -> rgb y x")
    orange = np.clip((red - blue) / 222, 0, 1)  # ink and paper have about as much blue as red
    ink = np.clip((245 - red) / 214, 0, 1)  # orange has nearly as much red as paper
    tint = smoothed(green - (red + blue) / 2 + 35 * orange, 3)
    foreign = (np.abs(tint) > 40) | (smoothed(blue - red, 3) > 65)
    return Covers(ink, orange, foreign)


def smoothed(values: np.ndarray, size: int) -> np.ndarray:
    """Mean over size x size pixels (odd), the edge repeated outwards: float32 [y, x]."""
    y, x = values.shape
    padded = np.pad(values.astype(np.float32), size // 2, mode="edge")
    rows = sum(padded[k : k + y] for k in range(size))
    return sum(rows[:, k : k + x] for k in range(size)) / np.float32(size**2)


def widened(mask: np.ndarray, by: int) -> np.ndarray:
    """A mask grown by some pixels to every side."""
    y, x = mask.shape
    padded, reach = np.pad(mask, by), range(2 * by + 1)
    rows = np.logical_or.reduce([padded[k : k + y] for k in reach])
    return np.logical_or.reduce([rows[:, k : k + x] for k in reach])


def by_square(values: np.ndarray) -> np.ndarray:
    """Sum over every square of the paper: [256, 256] -> [8, 8]."""
    return reduce(values.astype(np.float32), "(row y) (col x) -> row col", "sum", y=SQUARE_PX, x=SQUARE_PX)


@cache
def _candidates() -> tuple[list[Segment], np.ndarray, np.ndarray]:
    """All segments of the lattice, indices of pixels along each, [segment, sample] (padded by 256 * 256), and their lengths in samples."""
    lines = segments_between(LATTICE)
    ends = np.array(lines, np.float32) * SQUARE_PX
    lengths = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
    steps = np.ceil(lengths / _STEP_PX).astype(int)
    along = np.minimum(np.arange(steps.max() + 1)[None] / steps[:, None], 1)
    y, x = (ends[:, 0, axis, None] + along * (ends[:, 1, axis] - ends[:, 0, axis])[:, None] for axis in (0, 1))
    where = np.minimum(y, SHOWN_PX - 1).astype(np.int32) * SHOWN_PX + np.minimum(x, SHOWN_PX - 1).astype(np.int32)
    return lines, np.where(np.arange(steps.max() + 1)[None] > steps[:, None], SHOWN_PX**2, where), steps + 1


def unbroken(near: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Which rows of samples [line, sample] a colour follows from end to end but for the tolerance: bool [line].

    ``near``, bool [256, 256], is that colour widened by _REACH, which closes gaps twice as long and moves ends out as far.
    """
    off, padding = np.append(~near.ravel(), False)[samples], samples == SHOWN_PX**2
    before = np.logical_and.accumulate(off, 1).sum(1)
    after = np.logical_and.accumulate((off | padding)[:, ::-1], 1).sum(1) - padding.sum(1)
    return (off.sum(1) == before + after) & (np.maximum(before, after) * _STEP_PX <= END_TOLERANCE_PX - _REACH)


def broken(near: np.ndarray, sides: Iterable[Segment], circle: tuple[Point, int] | None) -> np.ndarray:
    """Pixels of length that are missing of sides and a circle in every square of the paper, [8, 8]; short gaps are allowed.

    ``near``, bool [256, 256], says where there is a line not far off.
    """
    missing = np.zeros(SHOWN_PX * SHOWN_PX + 1, np.float32)
    lines, samples, _ = _candidates()
    rows = [samples[lines.index(side)] for side in sides]
    if circle:
        circles, rounds = _circles()
        rows += [rounds[circles.index(circle)]] if circle in circles else []
    hit = np.append(near.ravel(), True)
    for row in rows:
        gaps = row[~hit[row]]
        if len(gaps) * _STEP_PX > END_TOLERANCE_PX:
            missing[gaps] += _STEP_PX
    return by_square(missing[:-1].reshape(SHOWN_PX, SHOWN_PX))


def explained(lines: Iterable[Segment], px: float) -> np.ndarray:
    """Where lines of some width run, bool [256, 256]."""
    mask = np.zeros(SHOWN_PX * SHOWN_PX, bool)
    for line in lines:
        mask[line_stain(line, px)[0]] = True
    return mask.reshape(SHOWN_PX, SHOWN_PX)


def find_lines(cover: np.ndarray, px: float, taken: np.ndarray | None = None, hidden: np.ndarray | None = None) -> frozenset[Segment]:
    """The lines between lattice points that a colour shows, in as few segments as possible.

    ``cover`` is float32 [256, 256], ``px`` the width such lines are drawn with, ``taken`` (bool) what is explained already,
    ``hidden`` (bool) where lines may run unseen.
    """
    lines, samples, counts = _candidates()
    near = widened(smoothed(cover, 3) > _COVERED, _REACH)
    near = near | hidden if hidden is not None else near
    left = np.where(taken, 0, cover) if taken is not None else cover
    hopeful = np.flatnonzero(unbroken(near, samples))
    gain = _centred(cover, px, samples[hopeful]) - 0.5 * counts[hopeful]
    found: set[Segment] = set()
    while len(hopeful):  # the line that explains most comes first; others must explain enough that is new
        fresh = _centred(left, px, samples[hopeful]) > _NEW * counts[hopeful]
        hopeful, gain = hopeful[fresh], gain[fresh]
        if len(hopeful):
            line = lines[hopeful[gain.argmax()]]
            found.add(line)
            left = np.where(explained({line}, 2 * _OWN_PX + px), 0, left)
    return joined(found)


def _centred(cover: np.ndarray, px: float, samples: np.ndarray) -> np.ndarray:
    """In how many of its samples [line, sample] the middle of each line has the colour around it: float [line]."""
    return np.minimum(np.append(smoothed(cover, 7).ravel() * 7 / px, 0)[samples], 1).sum(1)


def find_circle(cover: np.ndarray, px: float, hidden: np.ndarray) -> tuple[Point, int] | None:
    """The circle around a lattice point, radius in whole squares, that a colour shows; arguments as in ``find_lines``."""
    near = widened(smoothed(cover, 3) > _COVERED, _REACH) | hidden
    circles, samples = _circles()
    whole = np.flatnonzero(unbroken(near, samples))
    if not len(whole):
        return None
    shares = _centred(cover, px, samples[whole]) / (samples[whole] < SHOWN_PX**2).sum(1)
    return circles[whole[shares.argmax()]] if shares.max() > _ROUND else None


@cache
def _circles() -> tuple[list[tuple[Point, int]], np.ndarray]:
    circles = [(point, radius) for point in LATTICE for radius in range(1, 5) if all(radius <= at <= SIDE - radius for at in point)]
    rows = np.full((len(circles), round(2 * np.pi * 4 * SQUARE_PX / _STEP_PX) + 1), SHOWN_PX**2, np.int32)
    for row, ((r, c), radius) in zip(rows, circles, strict=True):
        angles = np.linspace(0, 2 * np.pi, round(2 * np.pi * radius * SQUARE_PX / _STEP_PX))
        y, x = r * SQUARE_PX + radius * SQUARE_PX * np.sin(angles), c * SQUARE_PX + radius * SQUARE_PX * np.cos(angles)
        inside = (np.clip(values, 0, SHOWN_PX - 1).astype(np.int32) for values in (y, x))
        row[: len(angles)] = next(inside) * SHOWN_PX + next(inside)
    return circles, rows


def dot_share(cover: np.ndarray, point: Point, radius: float, lines: np.ndarray) -> float:
    """How much of a dot is there, 0 to 1, looking only beside what lines (bool [256, 256]) explain; best of small shifts."""
    where, alpha = dot_stain(point, radius)
    best, step = 0.0, round(radius / 2)
    y, x = np.divmod(where, SHOWN_PX)
    for dy, dx in ((0, 0), (-step, 0), (step, 0), (0, -step), (0, step)):
        at = np.clip(y + dy, 0, SHOWN_PX - 1), np.clip(x + dx, 0, SHOWN_PX - 1)
        weight = alpha * ~lines[at]
        if weight.sum() > 255 * 6:
            best = max(best, float((cover[at] * weight).sum() / weight.sum()))
    return best


def find_marks(orange: np.ndarray, lines: frozenset[Segment]) -> frozenset[Point]:
    """The lattice points that are marked."""
    beside, near = explained(lines, LINE_PX + 1), smoothed(orange, 5)
    likely = [point for point in LATTICE if near[point[0] * SQUARE_PX, point[1] * SQUARE_PX] > 0.2]
    return frozenset(point for point in likely if dot_share(orange, point, MARK_PX, beside) > _DOT)


def line_error(image: Image, p: Point, q: Point) -> tuple[tuple[float, float], float]:
    """How far the orange line in a picture is from the segment p q: pixels at each end, and degrees between the two.

    Measured on the orange within END_TOLERANCE_PX of the segment; infinite ends and 90 degrees where there is none.
    """
    seen = covers(image)
    (y0, x0), (y1, x1) = ((r * SQUARE_PX, c * SQUARE_PX) for r, c in (p, q))
    length = float(np.hypot(y1 - y0, x1 - x0))
    nothing = ((float("inf"), float("inf")), 90.0)
    if seen is None or length == 0:
        return nothing
    y, x = np.mgrid[:SHOWN_PX, :SHOWN_PX] + 0.5
    along = ((y - y0) * (y1 - y0) + (x - x0) * (x1 - x0)) / length
    aside = ((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length
    inner = (along > MARK_PX) & (along < length - MARK_PX) & (np.abs(aside) < END_TOLERANCE_PX) & (seen.orange > 0.2)
    if seen.orange[inner].sum() < LINE_PX * length / 3:
        return nothing
    slope, shift = np.polyfit(along[inner], aside[inner], 1, w=np.sqrt(seen.orange[inner]))
    band = (np.abs(aside - shift - slope * along) < LINE_PX) & (np.abs(along - length / 2) < length / 2 + SQUARE_PX / 2)
    bins = np.floor(along[band]).astype(int)
    profile = np.bincount(bins - bins.min(), seen.orange[band], minlength=1)
    drawn = np.flatnonzero(profile > LINE_PX / 2) + bins.min()
    if not len(drawn):
        return nothing
    missing = (float(drawn[0]), length - float(drawn[-1]) - 1)  # a mark at an end hides up to its radius of what is too long
    ends = tuple(max(0.0, gap if gap > 0 else -gap - MARK_PX) for gap in missing)
    asides = (abs(shift), abs(shift + slope * length))
    first, second = (float(np.hypot(end, off)) for end, off in zip(ends, asides, strict=True))
    return (first, second), float(np.degrees(np.arctan(abs(slope))))
