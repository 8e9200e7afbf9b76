"""Editing by masking: a picture's codes stay where they are, those to be drawn anew are masked (fact sheet mmada, section 9).

Three ways to name what is drawn anew: a region (inpainting), more room at the sides (outpainting), or nothing, and then
the slots that the words support least.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from unimm.document import Image
from unimm.mmada.backbone import Backbone
from unimm.mmada.pictures import to_pixels
from unimm.mmada.unmask import DrawPlan, Easel, Scene

Sides = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of a picture."""


@dataclass(frozen=True)
class Place:
    """Where a source stands: on the square of ``side`` x ``side`` slots, and in the result of ``width`` x ``height`` pixels."""

    side: int
    left: int
    top: int
    columns: int
    rows: int
    width: int
    height: int
    x: int
    y: int

    @property
    def inside(self) -> Tensor:
        """Which slots the source covers, bool [side * side]."""
        cells = torch.zeros(self.side, self.side, dtype=torch.bool)
        cells[self.top : self.top + self.rows, self.left : self.left + self.columns] = True
        return cells.flatten()


def place(source: Image, side: int, extend: Sides) -> Place:
    """A source on its canvas with room for ``extend`` around it; without it the source covers all slots."""
    columns, left, width, x = _axis(source.width, side, extend[0], extend[2])
    rows, top, height, y = _axis(source.height, side, extend[1], extend[3])
    return Place(side, left, top, columns, rows, width, height, x, y)


def _axis(length: int, side: int, before: float, after: float) -> tuple[int, int, int, int]:
    """One axis: slots of the source, slots before it, pixels of the result, pixels before the source."""
    more = before + after
    cells = max(1, min(round(side / (1 + more)), side - 1 if more else side))
    ahead = round((side - cells) * before / more) if more else 0
    start = round(ahead * length / cells)
    return cells, ahead, max(round(side * length / cells), start + length), start


def canvas(source: Image, where: Place, factor: int) -> Tensor:
    """The source in its place, its borders drawn out over the rest: pixels [1, 3, side * factor, side * factor]."""
    fitted = source.to_pil().resize((where.columns * factor, where.rows * factor), PILImage.Resampling.BICUBIC)
    right, bottom = where.side - where.left - where.columns, where.side - where.top - where.rows
    edges = ((where.top * factor, bottom * factor), (where.left * factor, right * factor), (0, 0))
    return to_pixels(PILImage.fromarray(np.pad(np.array(fitted), edges, mode="edge")))[None]


def region(where: Place, sides: Sides) -> Tensor:
    """The slots that a region of the source touches, bool [side * side]."""
    left, top, right, bottom = sides
    cells = torch.zeros(where.side, where.side, dtype=torch.bool)
    rows = _touched(where.top, where.rows, top, bottom)
    columns = _touched(where.left, where.columns, left, right)
    cells[rows, columns] = True
    return cells.flatten()


def _touched(begin: int, cells: int, low: float, high: float) -> slice:
    first = min(int(low * cells + 1e-6), cells - 1)
    last = max(first + 1, int(np.ceil(high * cells - 1e-6)))
    return slice(begin + first, begin + last)


def support(backbone: Backbone, scene: Scene, offset: int, plan: DrawPlan) -> Tensor:
    """How well words and surroundings support each known slot: guided log-probability [B, N] of its own code.

    Two passes, each with every other slot masked like a chessboard, so that no slot is asked about while it can be seen.
    """
    slots = scene.given
    side = round(scene.slots**0.5)
    cells = torch.arange(scene.slots, device=slots.device)
    odd = ((cells // side + cells % side) % 2).bool()
    result = torch.zeros(slots.shape, device=slots.device)
    plan = replace(plan, cache="none")
    for half in (odd, ~odd):
        logits, _ = Easel(backbone, scene, offset, plan).logits(slots.masked_fill(half, backbone.config.mask), 0)
        own = logits.log_softmax(-1).gather(-1, (slots - offset)[..., None])[..., 0]
        result = torch.where(half, own, result)
    return result


def least_supported(values: Tensor, share: float) -> Tensor:
    """The ``share`` of slots [N] with the least support, at least one, bool [N]."""
    count = max(1, round(share * len(values)))
    chosen = torch.zeros_like(values, dtype=torch.bool)
    chosen[values.argsort(stable=True)[:count]] = True
    return chosen


def compose(source: Image, drawn: PILImage.Image, changed: Tensor, where: Place) -> Image:
    """The result: the source's own pixels wherever its slot is not ``changed`` [side * side], drawn ones elsewhere."""
    pixels = np.array(drawn.resize((where.width, where.height), PILImage.Resampling.BICUBIC))
    cells = changed.view(where.side, where.side).cpu().numpy()
    rows = where.top + np.arange(source.height) * where.rows // source.height
    columns = where.left + np.arange(source.width) * where.columns // source.width
    keep = ~cells[rows][:, columns]
    inner = pixels[where.y : where.y + source.height, where.x : where.x + source.width]
    inner[keep] = np.array(source.to_pil())[keep]
    return Image.from_pil(PILImage.fromarray(pixels))
