"""The curves as a picture: what was measured in front, published models and targets behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unimm.analysis.measure import Measured
from unimm.analysis.reference import published
from unimm.model import Want

FINE = 3
"""Drawn this many times as large and scaled down, for smooth edges."""
WIDTH, HEIGHT = 1280, 600
PAPER, INK, SOFT, GRID, BAND = "#ffffff", "#111827", "#6b7280", "#e5e7eb", "#e6edf5"
COLOURS: dict[Want, str] = {"image": "#2563eb", "text": "#dc2626"}
OTHERS = {"Emu3": "#b45309", "Janus-Pro-7B": "#15803d", "BAGEL": "#7c3aed", "specialists": "#111827"}
TITLES: dict[Want, tuple[str, str]] = {
    "image": ("Drawing", "attention of picture rows on the prompt's words"),
    "text": ("Understanding", "attention of answer rows on the pictures"),
}
COLUMNS = {"all": "measured", "no first": "without the first token", "no marks": "without template and marks"}
DASHES: dict[str, tuple[float, float] | None] = {"all": None, "no first": (7, 4), "no marks": (2, 3)}


@dataclass(frozen=True)
class Axes:
    """A panel: where it lies on the picture, depth 0..1 across and mass 0..1 up."""

    left: float
    top: float
    width: float
    height: float

    def at(self, depth: float, mass: float) -> tuple[float, float]:
        return self.left + depth * self.width, self.top + (1 - mass) * self.height


class Pen:
    """A Pillow drawing in final pixels, made ``FINE`` times as large."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * FINE, height * FINE), PAPER)
        self.size, self.draw = (width, height), ImageDraw.Draw(self.image, "RGBA")

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float, dash: tuple[float, float] | None = None) -> None:
        for stroke in [points] if dash is None else dashed(points, *dash):
            scaled = [(x * FINE, y * FINE) for x, y in stroke]
            self.draw.line(scaled, colour, round(width * FINE), joint="curve")

    def area(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        self.draw.polygon([(x * FINE, y * FINE) for x, y in points], colour)

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        for r, fill in ((radius + 1.2, PAPER), (radius, colour)):
            self.draw.ellipse([(x - r) * FINE, (y - r) * FINE, (x + r) * FINE, (y + r) * FINE], fill)

    def text(self, x: float, y: float, words: str, size: int = 13, colour: str = INK, anchor: str = "lm") -> None:
        self.draw.text((x * FINE, y * FINE), words, colour, ImageFont.load_default(size * FINE), anchor=anchor)

    def wide(self, words: str, size: int = 13) -> float:
        """Width of words in final pixels."""
        return ImageFont.load_default(size * FINE).getlength(words) / FINE

    def done(self) -> Image.Image:
        return self.image.resize(self.size, Image.Resampling.LANCZOS)


def dashed(points: Sequence[tuple[float, float]], on: float, off: float) -> list[list[tuple[float, float]]]:
    """A line as its dashes, lengths in pixels."""
    line = np.asarray(points)
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])

    def at(length: float) -> tuple[float, float]:
        return float(np.interp(length, along, line[:, 0])), float(np.interp(length, along, line[:, 1]))

    strokes = []
    for start in np.arange(0, along[-1], on + off):
        stop = min(start + on, along[-1])
        strokes.append([at(start), *(tuple(point) for point in line[(along > start) & (along < stop)]), at(stop)])
    return strokes


def plot(name: str, measured: Sequence[Measured]) -> Image.Image:
    """One panel a task, side by side, and one legend: RGB picture of 1280 x 600 pixels (half as wide for one task)."""
    width = WIDTH if len(measured) > 1 else 760
    pen = Pen(width, HEIGHT)
    pen.text(24, 26, f"Cross-modal interaction of {name}", 20)
    pen.text(24, 50, "share of attention that goes to the other modality, by layer; mean over rows, heads and samples", 13, SOFT)
    gap, inner = 64, (width - 24) / len(measured)
    for number, one in enumerate(measured):
        _panel(pen, Axes(24 + number * inner + 34, 122, inner - gap, 340), one)
    _legend(pen, measured, width)
    return pen.done()


def _panel(pen: Pen, axes: Axes, one: Measured) -> None:
    title, about = TITLES[one.want]
    pen.text(axes.left, axes.top - 34, title, 16, COLOURS[one.want])
    pen.text(axes.left, axes.top - 14, about, 12, SOFT)
    layers = len(one.curve)
    _targets(pen, axes, one)
    for step in range(0, 11, 2):
        y = axes.at(0, step / 10)[1]
        pen.line([(axes.left, y), (axes.left + axes.width, y)], GRID if step else SOFT, 1)
        pen.text(axes.left - 8, y, f"{step / 10:.1f}", 11, SOFT, "rm")
    _layer_ticks(pen, axes, layers)
    _parts(pen, axes, one)
    for row in published():
        pen.line(_points(axes, row.curve(one.want)), _faded(OTHERS[row.name]), 1.4)
    _spread(pen, axes, one)
    level = axes.at(0, one.even)[1]
    pen.line([(axes.left, level), (axes.left + axes.width, level)], COLOURS[one.want], 1, (1.5, 4))
    for columns in reversed(one.columns()):
        pen.line(_points(axes, one.mean(columns)), COLOURS[one.want], 2.6 if columns == "all" else 1.8, DASHES[columns])
    for x, y in _points(axes, one.curve):
        pen.dot(x, y, 3.4, COLOURS[one.want])


def _points(axes: Axes, curve: Sequence[float]) -> list[tuple[float, float]]:
    depths = np.linspace(0, 1, len(curve)) if len(curve) > 1 else [0.5]
    return [axes.at(float(depth), min(max(value, 0), 1)) for depth, value in zip(depths, curve, strict=True)]


def _faded(colour: str) -> str:
    return colour + "a0"


def _spread(pen: Pen, axes: Axes, one: Measured) -> None:
    """One standard deviation over the samples to both sides."""
    if len(one.samples) > 1 and len(one.curve) > 1:
        mean, spread = np.array(one.curve), np.array(one.spread("all"))
        pen.area([*_points(axes, mean + spread), *reversed(_points(axes, mean - spread))], COLOURS[one.want] + "30")


def _targets(pen: Pen, axes: Axes, one: Measured) -> None:
    """The stages: target plus and minus Huber width, each layer's stretch half-way to its neighbours."""
    layers = len(one.curve)
    edges = np.clip((np.arange(layers + 1) - 0.5) / max(layers - 1, 1), 0, 1)
    for number, (target, width) in enumerate(zip(*one.targets(), strict=True)):
        (left, top), (right, bottom) = axes.at(edges[number], min(target + width, 1)), axes.at(edges[number + 1], max(target - width, 0))
        pen.area([(left, top), (right, top), (right, bottom), (left, bottom)], BAND)
        middle = axes.at(0, target)[1]
        pen.line([(left, middle), (right, middle)], "#cbd5e1", 1.4)


def _layer_ticks(pen: Pen, axes: Axes, layers: int) -> None:
    step = next(step for step in (1, 2, 4, 5, 10, 20) if layers / step <= 16)
    for layer in range(0, layers, step):
        x, y = axes.at(layer / max(layers - 1, 1) if layers > 1 else 0.5, 0)
        pen.line([(x, y), (x, y + 4)], SOFT, 1)
        pen.text(x, y + 14, str(layer + 1), 11, SOFT, "mm")
    pen.text(axes.left + axes.width / 2, axes.top + axes.height + 34, "layer (published models stretched to this depth)", 12, SOFT, "mm")


def _parts(pen: Pen, axes: Axes, one: Measured) -> None:
    """A line between runs of layers of different kinds, and their names."""
    parts, first, layers = one.samples[0].parts, 0, len(one.curve)
    for number, (name, count) in enumerate(parts if len(parts) > 1 else ()):
        left = max(first - 0.5, 0) / max(layers - 1, 1)
        x, top = axes.at(left, 1)
        if number:
            pen.line([(x, top), (x, top + axes.height)], SOFT, 1, (3, 3))
        pen.text(x + 6, top + 9, name, 11, SOFT)
        first += count


def _legend(pen: Pen, measured: Sequence[Measured], width: int) -> None:
    """Samples of every line with its name, in rows below the panels."""
    columns = list(dict.fromkeys(name for one in measured for name in one.columns()))
    mine = [(COLUMNS[name], SOFT if len(measured) > 1 else COLOURS[measured[0].want], 2.6 if name == "all" else 1.8, DASHES[name])
            for name in columns]  # fmt: skip
    x, y = 24.0, 528.0
    for words, colour, thick, dash in mine:
        if len(measured) > 1 and dash is None:
            for part, want in enumerate(COLOURS):
                pen.line([(x + part * 15, y), (x + part * 15 + 13, y)], COLOURS[want], thick)
        else:
            pen.line([(x, y), (x + 28, y)], COLOURS["image"] if len(measured) > 1 else colour, thick, dash)
        x = _named(pen, x, y, words)
    pen.line([(x, y), (x + 28, y)], INK, 1, (1.5, 4))
    x = _named(pen, x, y, "if attention were even")
    if any(len(one.samples) > 1 for one in measured):
        pen.area([(x, y - 6), (x + 28, y - 6), (x + 28, y + 6), (x, y + 6)], "#94a3b860")
        x = _named(pen, x, y, f"one standard deviation over {max(len(one.samples) for one in measured)} samples")
    x, y = 24.0, 556.0
    pen.text(x, y, "published (arXiv 2511.22663):", 12, SOFT)
    x += pen.wide("published (arXiv 2511.22663):", 12) + 14
    for row in published():
        pen.line([(x, y), (x + 28, y)], _faded(OTHERS[row.name]), 1.8)
        x = _named(pen, x, y, row.name)
    if x > width - 170:
        x, y = 24.0, 580.0
    pen.area([(x, y - 6), (x + 28, y - 6), (x + 28, y + 6), (x, y + 6)], BAND)
    pen.line([(x, y), (x + 28, y)], "#cbd5e1", 1.4)
    _named(pen, x, y, "targets, Huber width")


def _named(pen: Pen, x: float, y: float, words: str) -> float:
    """The words behind a sample; returns where the next one begins."""
    pen.text(x + 35, y, words, 12)
    return x + 35 + pen.wide(words, 12) + 20
