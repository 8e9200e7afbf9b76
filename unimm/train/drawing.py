"""Stages 3 and 4: the stacked layers learn to draw and to edit; the base stays as it is, bit for bit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.star.layout import SEEN, SOURCE
from unimm.star.model import Star, is_base, pictures_to_pixels
from unimm.train.alignment import Alignment, aligned
from unimm.train.data import Batch, branch_mask

HEAVY = 8.0
"""Weight of a token that differs from the source's or is still drawn wrong; copying is most of a picture and soon learnt."""


def trains_drawing(name: str) -> bool:
    """Whether a parameter (named from the trainer) belongs to what stages 3 and 4 train."""
    name = name.removeprefix("star.")
    return not is_base(name) and not name.startswith("pixel_encoder.")


class DrawingTrainer(nn.Module):
    """Next-token loss over the drawn picture's VQ ids, tokens that change or are wrong weighted up.

    ``alignment`` adds the term of ``unimm.train.alignment``.
    """

    def __init__(self, star: Star, alignment: Alignment | None = None) -> None:
        super().__init__()
        self.star, self.alignment = star, alignment

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, cells, codes] of the drawn picture, its ids [B, cells], and the source's ids (-1 where there is none)."""
        star, size = self.star, len(batch.ids)
        with torch.no_grad():
            pixels = pictures_to_pixels(rearrange(batch.pictures, "b k h w c -> (b k) h w c"))
            codes = rearrange(star.pixel_encoder.encode(pixels), "(b k) l -> b k l", b=size)
            seen = rearrange(star.see(pixels), "(b k) l d -> b (k l) d", b=size)
        embeds = star.embed(batch.ids, batch.kind, batch.slot, batch.cell, batch.columns, seen, codes.flatten(1))
        mask = branch_mask(batch.segment).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        hidden = star.draw(star.understand(embeds, batch.position, mask), batch.position, mask)
        draws = (batch.cell >= 0) & (batch.kind != SEEN) & (batch.kind != SOURCE)
        rows = torch.arange(size, device=codes.device)
        source = torch.where(batch.sources[:, None] >= 0, codes[rows, batch.sources.clamp(min=0)], -1)
        logits = rearrange(star.pixel_logits(hidden[draws], source.flatten()), "(b l) v -> b l v", b=size)
        return logits.float(), codes[rows, batch.targets], source

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        with aligned(self.alignment, "image", self.star, batch) as weigh:
            logits, target, source = self.logits(batch)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(target)
        changed = (target != source) & (source >= 0)
        right = logits.argmax(-1) == target
        weights = torch.where(changed | ~right, HEAVY, 1.0)
        numbers = {"token": right.float().mean().item(), "exact": right.all(1).float().mean().item()}
        if changed.any():
            numbers["changed"] = right[changed].float().mean().item()
        loss = (loss * weights).sum() / weights.sum()
        numbers = {"loss": loss.item(), **numbers}
        loss, more = weigh(loss)
        return loss, numbers | more
