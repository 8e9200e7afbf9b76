"""Pictures to the tokenizer's pixels and back (fact sheet mmada, section 5)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from PIL import Image as PILImage
from torch import Tensor

from unimm.document import Image
from unimm.errors import BadInput

SMALLEST, LARGEST = 8, 40_000_000
"""The shortest side and the most pixels that a picture may have."""


def sane(image: Image) -> Image:
    """The picture itself; raises ``BadInput`` for one that is too small to show anything or too large to hold."""
    if min(image.width, image.height) < SMALLEST:
        raise BadInput(f"A picture of {image.width} x {image.height} pixels is too small. Give one of at least {SMALLEST} pixels a side.")
    if image.width * image.height > LARGEST:
        raise BadInput(f"A picture of {image.width} x {image.height} pixels is too large. Scale it to below 40 megapixels.")
    return image


def cropped(picture: PILImage.Image, side: int) -> PILImage.Image:
    """Short side to ``side``, then the middle square."""
    width, height = picture.size
    short = min(width, height)
    wide, high = (side, side * height // width) if width == short else (side * width // height, side)
    left, top = round((wide - side) / 2), round((high - side) / 2)
    return picture.resize((wide, high), PILImage.Resampling.BICUBIC).crop((left, top, left + side, top + side))


def squashed(picture: PILImage.Image, side: int) -> PILImage.Image:
    """Stretched to a square: what the published validation does to diagrams."""
    return picture.resize((side, side), PILImage.Resampling.BICUBIC)


def padded(picture: PILImage.Image, side: int) -> PILImage.Image:
    """White borders to a square (an odd pixel goes to right or bottom), then resized: what geometry figures were trained with."""
    long = max(picture.size)
    square = PILImage.new("RGB", (long, long), "white")
    square.paste(picture, ((long - picture.width) // 2, (long - picture.height) // 2))
    return squashed(square, side)


FITS: dict[str, Callable[[PILImage.Image, int], PILImage.Image]] = {"crop": cropped, "squash": squashed, "pad": padded}
"""The ways to make a picture square."""


def to_pixels(picture: PILImage.Image) -> Tensor:
    """A picture to pixels [3, H, W] in [-1, 1]."""
    values = torch.from_numpy(np.array(picture.convert("RGB"))).float() / 255
    return rearrange((values - 0.5) / 0.5, "h w c -> c h w")


def to_uint8(pixels: Tensor) -> Tensor:
    """Decoded pixels [B, 3, H, W] to bytes [B, H, W, 3], truncated."""
    return rearrange((((pixels.float() + 1) / 2).clamp(0, 1) * 255).to(torch.uint8), "b c h w -> b h w c")


def to_picture(pixels: Tensor) -> PILImage.Image:
    """Decoded pixels [1, 3, H, W] to a picture."""
    return PILImage.fromarray(to_uint8(pixels)[0].cpu().numpy())
