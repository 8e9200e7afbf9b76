"""Teaching the stack where to read: which words of the thought a cell to be drawn goes by, what these say and where they lead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimm.analysis.watch import eager_maps
from unimm.star.model import Star
from unimm.train.data import ABOUT, Batch
from unimm.train.naming import named_loss, words_for

READS, READ_BY, CUT_BY = slice(1, 3), 1, 2
"""Layers of the stack whose first ABOUT heads are taught to look at the words for a cell, a word a head; the layer after which the cell
should know what they say, and the one after which it should know how a line between two places cuts it."""
REACH = 0.6
"""A line cuts a cell where it comes this near to its middle, in sides of a cell: it is some pixels wide."""
BEFORE = 3
"""How many words before these are taken along."""


@dataclass
class Reading:
    """What a pass through the stack left: shares of attention that went where they should, and the states after READ_BY and CUT_BY."""

    heeded: list[Tensor] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)


PRECISE = 3.0
"""Weight of places that are missed: a line has to end to the pixel, so the last tenth of a cell counts too."""


def _missed(far: Tensor) -> Tensor:
    return F.smooth_l1_loss(far, torch.zeros_like(far), beta=0.05)


def cut(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Where the line between two places [..., 2], relative to a cell's middle, enters and leaves the cell: whether it does [...], and the
    two places [..., 4]."""
    way = q - p
    still = way.abs() < 1e-6
    ends = torch.stack([(side * REACH - p) / way.masked_fill(still, 1.0) for side in (-1, 1)], -1).sort(-1).values
    within = p.abs() <= REACH
    enters = ends[..., 0].masked_fill(still, -1.0).amax(-1).clamp(min=0.0)
    leaves = ends[..., 1].masked_fill(still, 2.0).amin(-1).clamp(max=1.0)
    meets = (enters <= leaves) & (within | ~still).all(-1)
    return meets, torch.cat([p + enters[..., None] * way, p + leaves[..., None] * way], -1)


@contextmanager
def reading(star: Star, batch: Batch, draws: Tensor) -> Iterator[Reading]:
    """Watches the stack run; ``draws`` [B, L] are the inputs that draw a cell, one behind the other.

    In the first layer one head should look from each of the words to the BEFORE words before it (what a thing is stands before where
    it is), in the layers READS one head from each cell to its first word and one to its second.
    """
    found = Reading()
    row, cell = (batch.about[:, :, 0] >= 0).nonzero(as_tuple=True)
    words = batch.about[row, cell]
    query = draws.int().argmax(1)[row] + cell

    def keep(attention: Tensor) -> None:
        shares = attention[row, :ABOUT, query].float().gather(2, words.clamp(min=0)[:, :, None])[..., 0]
        found.heeded.append(shares[words >= 0])

    named, place = torch.stack([row[:, None].expand_as(words)[words >= 0], words[words >= 0]], 1).unique(dim=0).T

    def gather(attention: Tensor) -> None:
        before = place[:, None] - torch.arange(1, BEFORE + 1, device=place.device)
        shares = attention[named, 0, place].float().gather(1, before)
        found.heeded.append((BEFORE * shares).clamp(max=1.0).flatten())

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        found.states.append((output[0] if isinstance(output, tuple) else output)[draws])

    layers = star.stack.layers
    hooks = [layers[number].register_forward_hook(note) for number in (READ_BY, CUT_BY) if number < len(layers)]
    try:
        if len(row):
            with eager_maps([layers[0].self_attn], gather), eager_maps([layer.self_attn for layer in layers[READS]], keep):
                yield found
        else:
            yield found
    finally:
        for hook in hooks:
            hook.remove()


class Reader(nn.Module):
    """The losses over a ``Reading``; its own weights exist in training only.

    ``named`` are the words for what cells hold and where they are, as for ``UnderstandingTrainer``.
    """

    def __init__(self, star: Star, named: Mapping[int, Tensor] | None) -> None:
        super().__init__()
        self.named = named or {}
        self.offsets = nn.Linear(star.hidden, 2 * ABOUT)
        self.cuts = nn.Linear(star.hidden, 4)

    def forward(self, star: Star, found: Reading, batch: Batch, changed: Tensor) -> tuple[Tensor | float, dict[str, float]]:
        """Loss and numbers; ``changed`` [B, cells] are the cells that are not as in the source."""
        loss, numbers = 0.0, {}
        if found.heeded:
            missed = -torch.cat(found.heeded).clamp(min=1e-6).log().mean()
            loss, numbers["heeded"] = missed, missed.neg().exp().item()
        states = found.states[0].view(*changed.shape, -1)
        goes = batch.about >= 0
        if goes.any():
            guess = self.offsets(F.rms_norm(states, states.shape[-1:])).float()
            far = (guess.view(*changed.shape, ABOUT, 2) - batch.offsets)[goes]
            loss, numbers["away"] = loss + PRECISE * _missed(far), far.abs().mean().item()
        crossed, cuts = cut(batch.offsets[:, :, 0], batch.offsets[:, :, 1])
        crossed &= goes.all(2)
        if crossed.any():
            last = found.states[-1].view(*changed.shape, -1)[crossed]
            far = self.cuts(F.rms_norm(last, last.shape[-1:])).float() - cuts[crossed]
            loss, numbers["cut"] = loss + PRECISE * _missed(far), far.abs().mean().item()
        if (words := self._words(batch, changed)) is not None and (names := named_loss(star, states[changed], words)) is not None:
            loss, numbers["names"] = loss + 0.3 * names, names.item()
        return loss, numbers

    def _words(self, batch: Batch, changed: Tensor) -> Tensor | None:
        """The words [n, k] for what the changed cells are to hold."""
        if changed.shape[1] not in self.named:
            return None
        rows = torch.arange(len(changed), device=changed.device)
        return words_for(self.named[changed.shape[1]], batch.states[rows, batch.targets])[changed]
