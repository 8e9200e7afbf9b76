"""Stages 3 and 4: the stacked layers learn to draw and to edit; the base stays as it is, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.star.backbone import new_cache
from unimm.star.layout import DRAWN, SEEN, SOURCE
from unimm.star.model import Star, is_base, pictures_to_pixels
from unimm.train.alignment import Alignment, aligned
from unimm.train.data import Batch, branch_mask
from unimm.train.reading import Reader, reading

HEAVY = 8.0
"""Weight of a token that differs from the source's or is still drawn wrong; copying is most of a picture and soon learnt."""

COPIES = 0.25
"""Share of the tokens that are as in the source whose loss is taken, each for several: there are many of them, and they say little."""
MISSED = 0.5
"""Weight of how far the look that is asked for is from the right one."""
UNAIDED = 0.4
"""Share of the edits in training that do not see what was drawn before."""


def trains_drawing(name: str) -> bool:
    """Whether a parameter (named from the trainer) belongs to what stages 3 and 4 train."""
    name = name.removeprefix("star.")
    return not is_base(name) and not name.startswith(("pixel_encoder.", "inspector."))


def _draws(batch: Batch) -> Tensor:
    """Which inputs [B, L] draw a cell."""
    return (batch.cell >= 0) & (batch.kind != SEEN) & (batch.kind != SOURCE)


class DrawingTrainer(nn.Module):
    """Next-token loss over the drawn picture's VQ ids, tokens that change or are wrong weighted up.

    Where a lesson says what a cell goes by, ``unimm.train.reading`` adds what that teaches (``named`` as there); ``alignment`` adds the
    term of ``unimm.train.alignment``.
    """

    def __init__(self, star: Star, alignment: Alignment | None = None, named: Mapping[int, Tensor] | None = None) -> None:
        super().__init__()
        self.star, self.alignment = star, alignment
        self.reader = Reader(star, named)

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, cells, codes] of the drawn picture, its ids [B, cells], and the source's ids (-1 where there is none)."""
        hidden, target, source, _ = self._states(batch)
        return self.star.pixel_logits(hidden, source).float(), target, source

    def _states(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The stack's states [B, cells, hidden] that draw the picture, its ids, the source's, and which pictures [B] are drawn unaided."""
        star, size = self.star, len(batch.ids)
        with torch.no_grad():
            pixels = pictures_to_pixels(rearrange(batch.pictures, "b k h w c -> (b k) h w c"))
            with torch.autocast(pixels.device.type, enabled=False):  # rounded otherwise than where pictures are drawn, codes can differ
                codes = rearrange(star.pixel_encoder.encode(pixels), "(b k) l -> b k l", b=size)
            seen = self._seen(batch, pixels, codes.shape[2])
        rows = torch.arange(size, device=codes.device)
        unaided = (batch.sources >= 0) & (torch.rand(size, device=codes.device) < UNAIDED * self.training)
        inputs = self._unaided(batch, codes, rows, unaided)
        embeds = star.embed(batch.ids, batch.kind, batch.slot, batch.cell, batch.columns, seen, inputs.flatten(1))
        mask = branch_mask(batch.segment).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        hidden = star.draw(self._understood(batch, embeds, mask), batch.position, mask)
        source = torch.where(batch.sources[:, None] >= 0, codes[rows, batch.sources.clamp(min=0)], -1)
        return rearrange(hidden[_draws(batch)], "(b l) d -> b l d", b=size), codes[rows, batch.targets], source, unaided

    def _seen(self, batch: Batch, pixels: Tensor, cells: int) -> Tensor | None:
        """The vision tower's tokens [B, k cells, hidden] of the pictures that the base is shown, zeros for the others."""
        shown = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        row, column = (batch.kind == SEEN).nonzero(as_tuple=True)
        shown[row * (len(pixels) // len(batch.ids)) + batch.slot[row, column] // cells] = True
        if not shown.any():
            return None
        tokens = self.star.see(pixels[shown])
        seen = tokens.new_zeros(len(pixels), *tokens.shape[1:])
        seen[shown] = tokens
        return rearrange(seen, "(b k) l d -> b (k l) d", b=len(batch.ids))

    def _unaided(self, batch: Batch, codes: Tensor, rows: Tensor, unaided: Tensor) -> Tensor:
        """The codes [B, k, cells] with the source's in place of what was drawn so far, in the edits [B] drawn ``unaided``.

        The right token before a place tells most of what belongs there, and who is always told never learns to read the thought.
        """
        inputs = codes.clone()
        inputs[rows, batch.targets] = torch.where(unaided[:, None], codes[rows, batch.sources.clamp(min=0)], codes[rows, batch.targets])
        return inputs

    def _understood(self, batch: Batch, embeds: Tensor, mask: Tensor) -> Tensor:
        """The base's states. What comes before all VQ tokens owes nothing to what is trained, so no gradient is taken through it."""
        codes = (batch.kind == SOURCE) | (batch.kind == DRAWN)
        begin = min(int(codes.any(0).int().argmax()), embeds.shape[1] - 1)
        if self.alignment is not None or begin < 2:
            return self.star.understand(embeds, batch.position, mask)
        cache = new_cache()
        with torch.no_grad():
            before = self.star.understand(embeds[:, :begin], batch.position[:, :, :begin], mask[:, :, :begin, :begin], cache)
        after = self.star.understand(embeds[:, begin:], batch.position[:, :, begin:], mask[:, :, begin:], cache)
        return torch.cat([before, after], 1)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        with aligned(self.alignment, "image", self.star, batch) as weigh, reading(self.star, batch, _draws(batch)) as found:
            hidden, target, source, unaided = self._states(batch)
        told, numbers = self.reader(self.star, found, batch, target != source)
        loss, more = self._codes_loss(hidden, target, source, unaided)
        loss, last = weigh(loss + told)
        return loss, more | numbers | last

    def _codes_loss(self, hidden: Tensor, target: Tensor, source: Tensor, unaided: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Cross entropy of the codes, over the changed tokens and COPIES of the others."""
        learnt = (target != source) | (torch.rand(target.shape, device=target.device) < COPIES)
        unaided = unaided[:, None].expand_as(target)[learnt]
        target, source = target[learnt], source[learnt]
        logits = self.star.pixel_logits(hidden[learnt], source).float()
        loss = F.cross_entropy(logits, target, reduction="none")
        right, copied = logits.argmax(-1) == target, target == source
        weights = torch.where(copied & right, 1.0, HEAVY) * torch.where(copied, 1 / COPIES, 1.0)
        loss = (loss * weights).sum() / weights.sum()
        if self.star.config.change_head:
            loss = loss + MISSED * self._missed_look(hidden[learnt], target, source)
        changed = ~copied & (source >= 0)
        groups = {"copied": copied, "changed": changed & ~unaided, "unaided": changed & unaided, "anew": source < 0}
        numbers = {name: right[group].float().mean().item() for name, group in groups.items() if group.any()}
        return loss, {"loss": loss.item(), **numbers}

    def _missed_look(self, hidden: Tensor, target: Tensor, source: Tensor) -> Tensor:
        """How far the wanted looks are from the right ones, as a share of how far the sources' are: a nearly right line counts."""
        head = self.star.pixel_change_head
        right = head.looks[target].float()
        before = head.looks[source.clamp(min=0)].float() * (source >= 0)[:, None]
        missed = (head.wanted(hidden, source) - right).square().sum()
        return missed / (before - right).square().sum().clamp(min=1.0)
