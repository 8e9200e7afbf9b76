"""Pictures to what the tower and the codec read, and decoded pixels back to pictures."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from PIL import Image as PILImage
from torch import Tensor

from unimm.document import Image
from unimm.errors import BadInput

MIN_PIXELS, MAX_PIXELS = 8, 40_000_000
GREY = (127, 127, 127)


def check_picture(picture: Image) -> None:
    """Raise ``BadInput`` for a picture that is too small to show anything or too large to work on."""
    if min(picture.width, picture.height) < MIN_PIXELS or picture.width * picture.height > MAX_PIXELS:
        raise BadInput(
            f"A {picture.width}x{picture.height} picture cannot be used. "
            f"Give one of at least {MIN_PIXELS} pixels a side and at most {MAX_PIXELS // 1_000_000} megapixels."
        )


def vision_pixels(picture: PILImage.Image, side: int, min_side: int = 14) -> Tensor:
    """A picture as the tower reads it: [3, side, side] in [-1, 1], the long side scaled, the short one filled up with grey.

    The short side is cut down to whole pixels like in the original; the library's processor rounds it (fact sheet, 1.3).
    """
    longest = max(picture.size)
    size = tuple(max(int(length / longest * side), min_side) for length in picture.size)
    canvas = PILImage.new("RGB", (max(size), max(size)), GREY)
    canvas.paste(picture.convert("RGB").resize(size, PILImage.Resampling.BICUBIC), tuple((max(size) - length) // 2 for length in size))
    return _normalised(canvas)


def codec_pixels(picture: PILImage.Image, side: int) -> Tensor:
    """A picture as the codec reads it: [3, side, side] in [-1, 1], the middle square, scaled."""
    least = min(picture.size)
    left, top = ((length - least) // 2 for length in picture.size)
    square = picture.convert("RGB").crop((left, top, left + least, top + least))
    return _normalised(square.resize((side, side), PILImage.Resampling.BICUBIC))


def _normalised(picture: PILImage.Image) -> Tensor:
    """uint8 to [-1, 1] in the order of the original, so that every bit agrees."""
    values = np.asarray(picture, dtype=np.float32) * np.float32(1 / 255)
    return rearrange(torch.from_numpy((values - np.float32(0.5)) / np.float32(0.5)), "h w c -> c h w")


def to_uint8(pixels: Tensor) -> Tensor:
    """Decoded pixels [b, 3, h, w] around [-1, 1] as bytes [b, h, w, 3], cut off, not rounded."""
    values = ((pixels.float() + 1) / 2 * 255).clamp(0, 255)
    return rearrange(values, "b c h w -> b h w c").to(torch.uint8)


def to_image(pixels: Tensor) -> Image:
    """Decoded pixels [1, 3, h, w] as a picture."""
    return Image.from_pil(PILImage.fromarray(to_uint8(pixels)[0].cpu().numpy()))
