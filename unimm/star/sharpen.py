"""STAR's third stage at the embedded size: what the VQ drew becomes a crisp picture in a few steps of flow matching.

::

    VQ ids --> codes ----------+
          +--> VQ's pixels ----+--> Lumina transformer --> clean picture --> Euler step --+
    source's pixels, kept ones-+            ^                                              |
    noise ---------------------+------------+----------------------------------------------+

The transformer is that of the big sizes (``unimm.star.lumina``), over squares of shown pixels instead of an autoencoder's
latents. Sixteen pixels along a token's side are 768 values, four times its width: noise does not pass through that, so it
predicts the clean picture, as the change of what the VQ drew, and the velocity follows from it. Nor do the lines of a source: a few
convolutions over the pixels take these from where they are. The source stands in
channels of its own at the same place: as further tokens (the release's way) it would more than double the work. Where the
source is kept, the clean picture is known and is the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from unimm.document import Image
from unimm.star.config import StarConfig
from unimm.star.lumina import VARIANTS
from unimm.star.pictures import from_tokens
from unimm.star.schedule import sigmas
from unimm.star.vq import VQModel
from unimm.weights import load_sharded, load_strict

DECODER_FILES = "diffusion_decoder"
"""Name of the shards that hold the decoder, as in a converted release: drawing without it reads less."""


RARELY = -3.0
"""Logit with which training begins to take pixels from the source."""


@dataclass(frozen=True)
class Draft:
    """What a picture is made from. All are float and pixels lie in [-1, 1].

    ``codes`` [B, dim, h, w] are the codebook rows, ``drawn`` [B, 3, h * p, w * p] the VQ's pixels, ``source`` [B, 3, H, W]
    shown pixels (0 without a source), ``kept`` [B, 1, h, w] is 1 where they stay, -1 where they do not, 0 without a source.
    """

    codes: Tensor
    drawn: Tensor
    source: Tensor
    kept: Tensor

    def crop(self, box: Box) -> Draft:
        """The part inside a box of cells."""
        parts = (box.of(part, part.shape[3] // self.kept.shape[3]) for part in (self.codes, self.drawn, self.source, self.kept))
        return Draft(*parts)


@dataclass(frozen=True)
class Box:
    """Cells of the grid from (top, left) up to, not including, (bottom, right)."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, picture: Tensor, cell: int) -> Tensor:
        """A view of the box's part of a picture [..., H, W] with ``cell`` pixels along a cell's side."""
        return picture[..., self.top * cell : self.bottom * cell, self.left * cell : self.right * cell]

    @classmethod
    def around(cls, changed: Tensor) -> Box:
        """The smallest box with all changed cells [h, w] and their neighbours; at least one cell is changed."""
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        height, width = changed.shape
        return cls(max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0), min(int(rows[-1]) + 2, height), min(int(columns[-1]) + 2, width))


class Sharpener(nn.Module):
    """The network and its loop over noise levels; it starts out as the VQ's own pixels and hardly any of the source's."""

    def __init__(self, config: StarConfig) -> None:
        super().__init__()
        self.config, self.scale = config.decoder, config.scale
        row = config.decoder.transformer
        self.lumina = VARIANTS[row.variant](row)
        nn.init.zeros_(self.lumina.norm_out.linear_2.weight)
        nn.init.zeros_(self.lumina.norm_out.linear_2.bias)
        self.finish = Finish(config.decoder.finish) if config.decoder.finish else None

    def forward(self, noisy: Tensor, time: Tensor, draft: Draft) -> Tensor:
        """The clean picture [B, 3, H, W] that a noisy one seems to come from; ``time`` [B] runs from 0 (noise) to 1."""
        block, size = self.config.block, noisy.shape[2] // self.config.block
        own, drawn, source = _folded(noisy, block), _folded(draft.drawn, block // self.scale), _folded(draft.source, block)
        codes = F.interpolate(draft.codes, own.shape[2:], mode="bilinear", align_corners=False)
        kept = F.interpolate(draft.kept, own.shape[2:])
        words = noisy.new_zeros(len(noisy), 1, self.lumina.config.cap_feat_dim)
        mask = torch.ones(len(noisy), 1, dtype=torch.long, device=noisy.device)
        change = self.lumina(torch.cat([own, codes, drawn, source, kept], 1), time, words, mask).float()
        enlarged = self.enlarged(draft)
        picture = enlarged + rearrange(change, "b (c p q) h w -> b c (h p) (w q)", p=block, q=block, h=size)
        stays = F.interpolate(draft.kept, noisy.shape[2:])
        if self.finish is not None:
            picture = self.finish(picture, enlarged, draft.source, stays)
        return torch.where(stays > 0, draft.source, picture)

    def enlarged(self, draft: Draft) -> Tensor:
        """The VQ's pixels at the shown size [B, 3, H, W]."""
        return repeat(draft.drawn, "b c h w -> b c (h s) (w t)", s=self.scale, t=self.scale)

    def refine(self, noise: Tensor, draft: Draft, steps: int) -> Iterator[Tensor]:
        """The clean picture [B, 3, H, W] as it seems after every step; the last one is the result."""
        noisy = noise
        for now, after in pairwise(sigmas(steps, self.config.shift).tolist()):
            clean = self(noisy, torch.full((len(noisy),), 1 - now, device=noisy.device), draft)
            noisy = noisy + (now - after) * velocity(clean, noisy, now)
            yield clean


class Finish(nn.Module):
    """Convolutions over the shown pixels: where a pixel is as in the source, it is taken from there, and edges are set right.

    What is drawn beside a line of the source leaves that line as it was. A square of pixels does not fit through its token, a choice does.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(10, channels, 5, padding=2), nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=2, dilation=2), nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=4, dilation=4), nn.GELU(),
        )  # fmt: skip
        self.say = nn.Conv2d(channels, 4, 1)
        nn.init.zeros_(self.say.weight)
        self.say.bias.data = torch.tensor([RARELY, 0.0, 0.0, 0.0])

    def forward(self, picture: Tensor, drawn: Tensor, source: Tensor, stays: Tensor) -> Tensor:
        """The picture [B, 3, H, W], finished; ``drawn`` are the VQ's pixels, ``stays`` [B, 1, H, W] is 0 where there is no source."""
        taken, change = self.say(self.look(torch.cat([picture, drawn, source, stays], 1))).split([1, 3], 1)
        return picture + change + taken.sigmoid() * stays.abs() * (source - picture)


def velocity(clean: Tensor, noisy: Tensor, level: float | Tensor) -> Tensor:
    """The way from noise to picture at a noise level (1 - time), given where it ends."""
    return (clean - noisy) / level


def _folded(picture: Tensor, block: int) -> Tensor:
    """Squares of block x block pixels as channels: [B, 3, H, W] to [B, 3 block², H / block, W / block]."""
    return rearrange(picture, "b c (h p) (w q) -> b (c p q) h w", p=block, q=block)


def draft_of(vq: VQModel, ids: Tensor, columns: int, source: Tensor | None, kept: Tensor | None, scale: int) -> Draft:
    """The draft of VQ ids [B, cells]; ``source`` [B, 3, H, W] and ``kept`` [B, cells] (bool) come together or not at all."""
    grid = (ids.shape[1] // columns, columns)
    codes = rearrange(vq.codes(ids), "b (h w) c -> b c h w", h=grid[0]).float()
    drawn = vq.decode_codes(codes).float()
    if source is None:
        side = scale * vq.config.factor
        return Draft(codes, drawn, codes.new_zeros(len(ids), 3, grid[0] * side, columns * side), codes.new_zeros(len(ids), 1, *grid))
    marks = rearrange(kept.float() * 2 - 1, "b (h w) -> b 1 h w", h=grid[0])
    return Draft(codes, drawn, source, marks)


def sharpened(
    sharpener: Sharpener, vq: VQModel, config: StarConfig, ids: Tensor, columns: int, source: Image | None, source_ids: Tensor | None,
    steps: int, seed: int,
) -> Iterator[Image]:  # fmt: skip
    """The shown picture of VQ ids [cells] after every step. Cells whose token is the source's keep the source's pixels, bit for bit.

    Only the part around changed cells is worked on. The noise hangs on the seed and the picture's size alone.
    """
    changed = torch.ones_like(ids, dtype=torch.bool) if source_ids is None else ids != source_ids
    if not changed.any() or not steps:
        yield from_tokens(ids, vq, config, columns, source, source_ids)
        return
    side = config.vq.factor * config.scale
    rows = len(ids) // columns
    before = torch.zeros(1, 3, rows * side, columns * side) if source is None else _pixels(source)
    noise = torch.randn(before.shape, generator=torch.Generator().manual_seed(seed))
    cells = rearrange(changed, "(h w) -> h w", w=columns)
    box = Box.around(cells)
    with torch.inference_mode():
        given = (None, None) if source is None else (before, ~changed[None])
        draft = draft_of(vq, ids[None], columns, *given, config.scale)
    mask = box.of(repeat(cells, "h w -> (h p) (w q)", p=side, q=side), side)
    shown = np.zeros((rows * side, columns * side, 3), np.uint8) if source is None else levels(source).copy()
    place = (slice(box.top * side, box.bottom * side), slice(box.left * side, box.right * side))
    for clean in _inferred(sharpener.refine(box.of(noise, side), draft.crop(box), steps)):
        drawn = ((clean[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        shown[place] = np.where(mask[..., None].numpy(), rearrange(drawn, "c h w -> h w c").numpy(), shown[place])
        yield Image(shown.shape[1], shown.shape[0], shown.tobytes())


def _inferred(steps: Iterator[Tensor]) -> Iterator[Tensor]:
    """The same steps, each computed without gradients; between them the reader's own mode holds."""
    while True:
        with torch.inference_mode():
            step = next(steps, None)
        if step is None:
            return
        yield step


def levels(image: Image) -> np.ndarray:
    """A shown picture's pixels, uint8 [H, W, 3]; they can only be read."""
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


def _pixels(image: Image) -> Tensor:
    """A picture as float [1, 3, H, W] in [-1, 1]."""
    return rearrange(torch.from_numpy(levels(image).astype(np.float32)) / 127.5 - 1, "h w c -> 1 c h w")


def load_sharpener(folder: Path, config: StarConfig) -> Sharpener | None:
    """The decoder of a model folder; None where the config or the folder has none. Raises ``MissingWeights`` where weights do not fit."""
    if config.decoder is None or not any(folder.glob(f"{DECODER_FILES}*.safetensors*")):
        return None
    sharpener = Sharpener(config)
    load_strict(sharpener, {name: value.float() for name, value in load_sharded(folder, DECODER_FILES).items()}, "diffusion decoder")
    return sharpener.eval().requires_grad_(False)
