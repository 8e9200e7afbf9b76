"""Between the pictures of a document and the model's own canvas: sizes, and pixels that stay as they are."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image as PILImage
from torch import Tensor

from unimm.document import Image
from unimm.errors import BadInput
from unimm.star.config import StarConfig
from unimm.star.vq import VQModel, to_uint8

LARGEST_CELLS = 16


def fitted(image: Image, config: StarConfig) -> Image:
    """The picture at a size that the canvas maps onto exactly; others are resized, proportions given up as STAR does."""
    unit = config.vq.factor * config.scale
    side = image.width
    if image.width == image.height and side % unit == 0 and config.grid <= side // unit <= LARGEST_CELLS:
        return image
    if max(image.width, image.height) > 8192:
        raise BadInput(f"A picture of {image.width}x{image.height} pixels is too large. Scale it down to 8192 pixels or less.")
    side = config.picture * config.scale
    resampling = PILImage.Resampling.BOX if image.width > side else PILImage.Resampling.BILINEAR
    return Image.from_pil(image.to_pil().resize((side, side), resampling))


def to_canvas(image: Image, config: StarConfig) -> Tensor:
    """A fitted picture as the model's pixels: float [1, 3, H, W] in [-1, 1], each the mean of ``scale`` x ``scale`` shown ones."""
    shown = np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)
    pixels = rearrange(shown, "(h s) (w t) c -> h w c (s t)", s=config.scale, t=config.scale).mean(-1, dtype=np.float32)
    return rearrange(torch.from_numpy(pixels) / 127.5 - 1, "h w c -> 1 c h w")


def from_tokens(
    ids: Tensor, vq: VQModel, config: StarConfig, columns: int, source: Image | None = None, source_ids: Tensor | None = None
) -> Image:
    """The shown picture of VQ ids [cells].

    Where a token equals the source's, the source's pixels are kept as they are; only other cells take decoded pixels.
    """
    changed = torch.ones_like(ids, dtype=torch.bool) if source_ids is None else ids != source_ids
    if source is not None and not changed.any():
        return source
    pixels = to_uint8(vq.decode(ids[None], (len(ids) // columns, columns)))[0].numpy()
    shown = repeat(pixels, "h w c -> (h s) (w t) c", s=config.scale, t=config.scale)
    if source is not None:
        cell = config.vq.factor * config.scale
        mask = repeat(changed.reshape(-1, columns).numpy(), "r c -> (r p) (c q) 1", p=cell, q=cell)
        shown = np.where(mask, shown, np.frombuffer(source.rgb, np.uint8).reshape(shown.shape))
    return Image(shown.shape[1], shown.shape[0], np.ascontiguousarray(shown).tobytes())
