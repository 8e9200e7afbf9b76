"""Pictures as BAGEL reads and makes them: the resize rule, pixels, patches and places (fact sheet: bagel, section 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from PIL import Image as PILImage
from torch import Tensor

from unimm.document import Image
from unimm.errors import BadInput

Grid = tuple[int, int]
"""Rows and columns."""

MAX_PIXELS = 14 * 14 * 9 * 1024
SMALLEST_SIDE = 8
LARGEST_AREA = 40_000_000


@dataclass(frozen=True)
class ResizeRule:
    """Longest and shortest allowed side and the stride, in pixels; the aspect ratio is nearly kept."""

    longest: int
    shortest: int
    stride: int
    max_pixels: int = MAX_PIXELS

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the rule. The area is cut by its plain ratio, without a square root, as released."""
        scale = max(min(self.longest / max(width, height), 1), self.shortest / min(width, height))
        width, height = self._scaled(width, height, scale)
        if width * height > self.max_pixels:
            width, height = self._scaled(width, height, self.max_pixels / (width * height))
        if max(width, height) > self.longest:
            width, height = self._scaled(width, height, self.longest / max(width, height))
        return width, height

    def _scaled(self, width: int, height: int, scale: float) -> tuple[int, int]:
        return self._whole(round(width * scale)), self._whole(round(height * scale))

    def _whole(self, side: int) -> int:
        return max(self.stride, round(side / self.stride) * self.stride)

    def apply(self, picture: PILImage.Image) -> PILImage.Image:
        """The picture at its new size, resampled bicubic with antialiasing."""
        size = self.size(*picture.size)
        return picture if size == picture.size else picture.resize(size, PILImage.Resampling.BICUBIC)


def check_size(image: Image) -> None:
    """Raise ``BadInput`` for a picture too small to show anything or too large to handle."""
    if min(image.width, image.height) < SMALLEST_SIDE:
        raise BadInput(f"A {image.width}x{image.height} picture is too small. Give one of at least {SMALLEST_SIDE} pixels a side.")
    if image.width * image.height > LARGEST_AREA:
        raise BadInput(f"A {image.width}x{image.height} picture is too large. Scale it down below 40 megapixels.")


def to_pixels(picture: PILImage.Image) -> Tensor:
    """Pixels [3, height, width] in [-1, 1]."""
    values = torch.from_numpy(np.array(picture.convert("RGB"))).float()
    return (rearrange(values, "h w c -> c h w") / 255 - 0.5) / 0.5


def to_uint8(pixels: Tensor) -> Tensor:
    """Decoded pixels [1, 3, height, width] to grey levels [height, width, 3], truncated as released."""
    return rearrange(((pixels.float() * 0.5 + 0.5).clamp(0, 1) * 255).to(torch.uint8), "1 c h w -> h w c")


def to_image(levels: Tensor) -> Image:
    """Grey levels [height, width, 3] as a value."""
    return Image(levels.shape[1], levels.shape[0], levels.cpu().contiguous().numpy().tobytes())


def fold(cells: Tensor, patch: int) -> Tensor:
    """A map [channels, rows * patch, columns * patch] as tokens [rows * columns, patch * patch * channels], channels fastest."""
    return rearrange(cells, "c (h p) (w q) -> (h w) (p q c)", p=patch, q=patch)


def unfold(tokens: Tensor, grid: Grid, patch: int) -> Tensor:
    """Inverse of ``fold``."""
    return rearrange(tokens, "(h w) (p q c) -> c (h p) (w q)", h=grid[0], w=grid[1], p=patch, q=patch)


def places(grid: Grid, side: int) -> Tensor:
    """Ids [rows * columns] into a table of ``side * side`` places; raises ``BadInput`` where the grid is larger."""
    if max(grid) > side:
        raise BadInput(f"A picture of {grid[0]} x {grid[1]} tokens is beyond this model's {side} x {side}. Ask for a smaller one.")
    return (torch.arange(grid[0])[:, None] * side + torch.arange(grid[1])).flatten()


def sincos_table(side: int, width: int) -> Tensor:
    """The frozen table of places [side * side, width]: sine and cosine of the column, then of the row.

    ``width / 4`` frequencies 10000^(-j / (width / 4)) each (fact sheet: bagel, section 4).
    """
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], -1)
    column, row = waves[None].expand(side, -1, -1), waves[:, None].expand(-1, side, -1)
    return torch.cat([column, row], -1).reshape(side * side, -1).float()
