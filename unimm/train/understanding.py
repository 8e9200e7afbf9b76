"""Stage 2: the base learns to see, think, answer and criticise; afterwards it is frozen."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.star.backbone import decode
from unimm.star.layout import SEEN
from unimm.star.model import FAULT_WEIGHT, Star, pictures_to_pixels
from unimm.train.alignment import Alignment, aligned
from unimm.train.data import HEAVY_WEIGHT, IGNORED, Batch, branch_mask
from unimm.train.naming import named_loss, words_for

REDRAWN = 0.4
"""Share of the pictures to be judged that are shown as they come out of the VQ."""
STATES = 320
"""Kinds of cell that the training-only head tells apart, at most."""


class UnderstandingTrainer(nn.Module):
    """The base with a head that exists in training only, for what a cell holds, and the one that says whether it is wrong.

    They give every picture token a label of its own, where the words alone give one a picture. ``alignment`` adds the
    term of ``unimm.train.alignment``. ``named`` has, for pictures of so many cells, the ids of the words for what a cell holds and where
    it is, [STATES, cells, n] (IGNORED where there are fewer): a picture's tokens are then taught to lie near these words' embeddings, so
    that looking up a word in a picture is what looking it up in a text is.
    """

    def __init__(self, star: Star, alignment: Alignment | None = None, named: Mapping[int, Tensor] | None = None) -> None:
        super().__init__()
        self.star, self.alignment, self.named = star, alignment, named or {}
        self.state_head = nn.Linear(star.hidden, STATES)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss over the replies and the cells' labels. Words that are still said wrong count for more."""
        with aligned(self.alignment, "text", self.star, batch) as weigh:
            tokens, hidden, early = self._hidden(batch)
        speaks = batch.labels != IGNORED
        logits = self.star.word_logits(hidden[speaks]).float()
        words = F.cross_entropy(logits, batch.labels[speaks], reduction="none")
        right = logits.argmax(-1) == batch.labels[speaks]
        weights = batch.weights[speaks].clamp(min=torch.where(right, 0.0, HEAVY_WEIGHT)) * _words_in_reply(batch)[speaks].rsqrt()
        text = (words * weights).sum() / weights.sum()
        loss, numbers = text, {"text": text.item(), "right": right.float().mean().item()}
        if tokens is not None and (batch.states != IGNORED).any():
            states = F.cross_entropy(self.state_head(tokens).float().flatten(0, 1), batch.states.flatten(), ignore_index=IGNORED)
            loss, numbers["states"] = loss + 0.3 * states, states.item()
            if (names := self._names(tokens, batch.states)) is not None:
                loss, numbers["names"] = loss + 0.6 * names, names.item()
        if self.star.config.fault_head and (batch.faults != IGNORED).any():
            last, before = self._faults(hidden, batch), self._faults(early, batch)
            loss, numbers["faults"], numbers["early_faults"] = loss + 0.5 * last + before, last.item(), before.item()
        loss, more = weigh(loss)
        return loss, numbers | more

    def replies(self, batch: Batch) -> Tensor:
        """The likeliest next id at every position [B, L], the right words before it given."""
        return self.star.word_logits(self._hidden(batch)[1]).argmax(-1)

    def _hidden(self, batch: Batch) -> tuple[Tensor | None, Tensor, Tensor]:
        """Vision tokens [B, slots, hidden] (None where there is no picture), last hidden states [B, L, hidden], those two layers before.

        What a cell's own position knows only at the end comes too late for the verdict that has to look at it.
        """
        tokens = None
        if batch.pictures.numel():
            pixels = pictures_to_pixels(rearrange(batch.pictures, "b k h w c -> (b k) h w c"))
            if self.training:
                pixels = blemished(redrawn(self.star, pixels, batch.pictures.shape[1]))
            seen = self.star.see(pixels)
            tokens = rearrange(seen, "(b k) l d -> b (k l) d", b=len(batch.ids))
        embeds = self.star.embed(batch.ids, batch.kind, batch.slot, batch.cell, batch.columns, tokens, None)
        mask = branch_mask(batch.segment).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        out = decode(self.star.base.model.language_model, embeds, batch.position, mask, output_hidden_states=True)
        early = F.rms_norm(out.hidden_states[-3], (self.star.hidden,))
        return tokens, out.last_hidden_state, early

    def _names(self, tokens: Tensor, states: Tensor) -> Tensor | None:
        """Cross entropy of the words for what each token shows; None where it shows nothing that has words."""
        if states.shape[2] not in self.named:
            return None
        known = states != IGNORED
        shown = rearrange(tokens, "b (k l) d -> b k l d", l=states.shape[2])[known]
        return named_loss(self.star, shown, words_for(self.named[states.shape[2]], states)[known])

    def _faults(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Cross entropy of "this cell is wrong" where a picture is judged against the one before it."""
        labels = batch.faults.flatten(1).gather(1, batch.slot)
        judged = (batch.kind == SEEN) & (labels != IGNORED)
        weight = torch.tensor([1.0, FAULT_WEIGHT], device=hidden.device)
        return F.cross_entropy(self.star.fault_head(hidden[judged]).float(), labels[judged], weight=weight)


def _words_in_reply(batch: Batch) -> Tensor:
    """How many words the reply has that a word is of, [B, L]. A reply counts as the root of that: else verdicts of a hundred words on
    scenes would drown thoughts of ten on mazes, of which each word decides as much."""
    branch = batch.segment.abs()
    counts = torch.zeros(len(branch), int(branch.max()) + 1, device=branch.device)
    counts.scatter_add_(1, branch, (batch.labels != IGNORED).float())
    return counts.gather(1, branch).clamp(min=1)


@torch.no_grad()
def redrawn(star: Star, pixels: Tensor, group: int) -> Tensor:
    """Pictures [B * group, 3, H, W] with REDRAWN of those behind the first of each group as the model itself would draw them: decoded from
    their codes, and kept as they were where the first one has the same code. What is judged in the end looks like that."""
    each = torch.arange(len(pixels), device=pixels.device)
    taken = each[(each % group > 0) & (torch.rand(len(each), device=pixels.device) < REDRAWN)]
    if not len(taken):
        return pixels
    vq, side, first = star.pixel_encoder, star.config.vq.factor, pixels[taken // group * group]
    with torch.autocast(pixels.device.type, enabled=False):
        ids = vq.encode(pixels[taken])
        drawn = vq.decode(ids, vq.grid(pixels)).clamp(-1, 1)
        same = rearrange(ids == vq.encode(first), "n (h w) -> n 1 h w", h=vq.grid(pixels)[0])
    kept = torch.where(same.repeat_interleave(side, 2).repeat_interleave(side, 3), first, drawn)
    return pixels.index_copy(0, taken, kept.to(pixels.dtype))


def blemished(pixels: Tensor) -> Tensor:
    """Pictures as they come out of decoders, cameras and files: noise, a tint, other contrast, on two thirds of them."""
    n = len(pixels)
    touched = (torch.rand(n, 1, 1, 1, device=pixels.device) < 0.67).float()
    tint = torch.randn(n, 3, 1, 1, device=pixels.device) * 0.03
    gain = 1 + torch.randn(n, 1, 1, 1, device=pixels.device) * 0.04
    noise = torch.randn_like(pixels) * (torch.rand(n, 1, 1, 1, device=pixels.device) * 0.08)
    return pixels + touched * (pixels * (gain - 1) + tint + noise)
