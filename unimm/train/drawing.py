"""Stages 3 and 4: the stacked layers learn to draw and to edit; the base stays as it is, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.analysis.watch import eager_maps
from unimm.star.backbone import new_cache
from unimm.star.layout import DRAWN, SEEN, SOURCE
from unimm.star.model import Star, is_base, pictures_to_pixels
from unimm.train.alignment import Alignment, aligned
from unimm.train.data import Batch, branch_mask

HEAVY = 8.0
"""Weight of a token that differs from the source's or is still drawn wrong; copying is most of a picture and soon learnt."""

COPIES = 0.25
"""Share of the tokens that are as in the source whose loss is taken, each for several: there are many of them, and they say little."""
READING, BEFORE = slice(1, 3), 3
"""Layers of the stack of which one head is taught to look at the words for its place, where a lesson says which these are, and how
many words before these are taken along."""
UNAIDED = 0.6
"""Share of the edits in training that do not see what was drawn before."""


def trains_drawing(name: str) -> bool:
    """Whether a parameter (named from the trainer) belongs to what stages 3 and 4 train."""
    name = name.removeprefix("star.")
    return not is_base(name) and not name.startswith("pixel_encoder.")


def _draws(batch: Batch) -> Tensor:
    """Which inputs [B, L] draw a cell."""
    return (batch.cell >= 0) & (batch.kind != SEEN) & (batch.kind != SOURCE)


class DrawingTrainer(nn.Module):
    """Next-token loss over the drawn picture's VQ ids, tokens that change or are wrong weighted up.

    ``alignment`` adds the term of ``unimm.train.alignment``.
    """

    def __init__(self, star: Star, alignment: Alignment | None = None) -> None:
        super().__init__()
        self.star, self.alignment = star, alignment

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, cells, codes] of the drawn picture, its ids [B, cells], and the source's ids (-1 where there is none)."""
        hidden, target, source = self._states(batch)
        return self.star.pixel_logits(hidden, source).float(), target, source

    def _states(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The stack's states [B, cells, hidden] that draw the picture, its ids and the source's."""
        star, size = self.star, len(batch.ids)
        with torch.no_grad():
            pixels = pictures_to_pixels(rearrange(batch.pictures, "b k h w c -> (b k) h w c"))
            codes = rearrange(star.pixel_encoder.encode(pixels), "(b k) l -> b k l", b=size)
            seen = rearrange(star.see(pixels), "(b k) l d -> b (k l) d", b=size)
        rows = torch.arange(size, device=codes.device)
        inputs = self._unaided(batch, codes, rows) if self.training else codes
        embeds = star.embed(batch.ids, batch.kind, batch.slot, batch.cell, batch.columns, seen, inputs.flatten(1))
        mask = branch_mask(batch.segment).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        hidden = star.draw(self._understood(batch, embeds, mask), batch.position, mask)
        source = torch.where(batch.sources[:, None] >= 0, codes[rows, batch.sources.clamp(min=0)], -1)
        return rearrange(hidden[_draws(batch)], "(b l) d -> b l d", b=size), codes[rows, batch.targets], source

    @contextmanager
    def _reading(self, batch: Batch) -> Iterator[list[Tensor]]:
        """Collects, while the stack runs, how much of one head's attention goes where it should, 1 being all.

        In the first layer from each of these words to the three before it (what a thing is stands before where it is), in the
        layers READING from each cell to its words.
        """
        row, cell = (batch.about[:, :, 0] >= 0).nonzero(as_tuple=True)
        heeded: list[Tensor] = []
        if not len(row):
            yield heeded
            return
        words = batch.about[row, cell]
        query = _draws(batch).int().argmax(1)[row] + cell  # the inputs that draw stand one behind the other

        def keep(attention: Tensor) -> None:
            weights = attention[row, 0, query].float()
            heeded.append((weights.gather(1, words.clamp(min=0)) * (words >= 0)).sum(1))

        named, place = torch.stack([row[:, None].expand_as(words)[words >= 0], words[words >= 0]], 1).unique(dim=0).T

        def gather(attention: Tensor) -> None:
            before = place[:, None] - torch.arange(1, BEFORE + 1, device=place.device)
            weights = attention[named, 0, place].float().gather(1, before)
            heeded.append((BEFORE * weights).clamp(max=1.0).flatten())

        layers = self.star.stack.layers
        with eager_maps([layers[0].self_attn], gather), eager_maps([layer.self_attn for layer in layers[READING]], keep):
            yield heeded

    def _unaided(self, batch: Batch, codes: Tensor, rows: Tensor) -> Tensor:
        """The codes [B, k, cells] with the source's in place of what was drawn so far, in UNAIDED of the edits.

        The right token before a place tells most of what belongs there, and who is always told never learns to read the thought.
        """
        unaided = (batch.sources >= 0) & (torch.rand(len(rows), device=codes.device) < UNAIDED)
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
        with aligned(self.alignment, "image", self.star, batch) as weigh, self._reading(batch) as heeded:
            hidden, target, source = self._states(batch)
        learnt = (target != source) | (torch.rand(target.shape, device=target.device) < COPIES)
        target, source = target[learnt], source[learnt]
        logits = self.star.pixel_logits(hidden[learnt], source).float()
        loss = F.cross_entropy(logits, target, reduction="none")
        right, copied = logits.argmax(-1) == target, target == source
        weights = torch.where(copied & right, 1.0, HEAVY) * torch.where(copied, 1 / COPIES, 1.0)
        groups = {"copied": copied, "changed": ~copied & (source >= 0), "anew": source < 0}
        numbers = {name: right[group].float().mean().item() for name, group in groups.items() if group.any()}
        loss = (loss * weights).sum() / weights.sum()
        numbers = {"loss": loss.item(), **numbers}
        if heeded:
            missed = -torch.cat(heeded).clamp(min=1e-6).log().mean()
            loss, numbers["heeded"] = loss + missed, missed.neg().exp().item()
        loss, more = weigh(loss)
        return loss, numbers | more
