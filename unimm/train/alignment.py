"""Attention interaction alignment: an optional loss term that pulls every layer's cross-modal interaction to a target.

Targets are step functions of depth ("stages") distilled from specialist models (fact sheet: aia, section 3). Switched off
unless a trainer is given an ``Alignment``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from unimm.analysis.intensity import intensity
from unimm.analysis.watch import eager_maps
from unimm.errors import BadInput
from unimm.model import Want
from unimm.star.layout import DRAWN, SEEN, TEXT
from unimm.star.model import Star
from unimm.train.data import IGNORED, Batch


@dataclass(frozen=True)
class Stage:
    """A run of layers from ``first`` (counted from 0) up to the next stage: its target mass and its Huber width."""

    first: int
    target: float
    width: float


@dataclass(frozen=True)
class Targets:
    """The stages of one task, bottom first, for a model of ``depth`` layers."""

    depth: int
    stages: tuple[Stage, ...]

    def at(self, layers: int, scaled: bool = True) -> tuple[Tensor, Tensor]:
        """Target and Huber width of each layer, float32 [layers] both.

        ``scaled`` stretches the stages from ``depth`` to ``layers``; without it a boundary stays at its layer number.
        """
        share = self.depth / layers if scaled else 1.0
        rows = [[stage for stage in self.stages if stage.first <= layer * share][-1] for layer in range(layers)]
        return torch.tensor([row.target for row in rows]), torch.tensor([row.width for row in rows])


def _understanding(third: int, fourth: int) -> tuple[Stage, ...]:
    return Stage(0, 0.1, 0.05), Stage(10, 0.15, 0.05), Stage(third, 0.3, 0.05), Stage(fourth, 0.2, 0.05)


_DRAWING = (Stage(0, 0.4, 0.2), Stage(10, 0.4, 0.1), Stage(25, 0.2, 0.05))

TARGETS: dict[str, dict[Want, Targets]] = {
    "code": {"image": Targets(30, _DRAWING), "text": Targets(30, _understanding(21, 30))},
    "paper_janus_pro": {"image": Targets(30, _DRAWING), "text": Targets(30, _understanding(20, 30))},
    "paper_emu3": {"image": Targets(32, _DRAWING), "text": Targets(32, _understanding(20, 31))},
}
"""The released code's table, and those printed in the paper (fact sheet: aia, section 3.1)."""

WEIGHTS: dict[Want, float] = {"image": 5.0, "text": 10.0}
"""Weights of the term beside the token loss in the released code (section 3.2)."""


def penalties(mass: Tensor, target: Tensor, width: Tensor) -> Tensor:
    """Huber penalty of every layer and sample, float32 [layers, B]; ``mass`` [layers, B], ``target`` and ``width`` [layers]."""
    gap = (mass.float() - rearrange(target, "l -> l 1")).abs()
    width = rearrange(width, "l -> l 1")
    return torch.where(gap <= width, gap.square() / 2, width * gap - width.square() / 2)


def alignment_loss(mass: Tensor, target: Tensor, width: Tensor, on: Tensor | None = None) -> Tensor:
    """The term: penalties of the samples that are ``on`` [B], over layers times *all* samples."""
    values = penalties(mass, target, width)
    return (values if on is None else values * on).sum() / values.numel()


@dataclass(frozen=True)
class Alignment:
    """Which targets, and how much the term counts; the released weights where ``weights`` is not given."""

    table: str = "code"
    weights: tuple[tuple[Want, float], ...] = tuple(WEIGHTS.items())

    def __post_init__(self) -> None:
        if self.table not in TARGETS:
            raise BadInput(f"There are no targets {self.table!r}. There are: {', '.join(TARGETS)}.")

    def weight(self, want: Want) -> float:
        return dict(self.weights)[want]

    def term(self, want: Want, mass: Tensor, on: Tensor | None = None) -> Tensor:
        """The unweighted term for the interaction ``mass`` [layers, B] of a task, the stages scaled to that depth."""
        target, width = (row.to(mass.device) for row in TARGETS[self.table][want].at(len(mass)))
        return alignment_loss(mass, target, width, on)


@dataclass(frozen=True)
class Regions:
    """What a batch measures: rows and columns [B, L] as masks, and the samples [B] that count."""

    queries: Tensor
    keys: Tensor
    on: Tensor


def drawing_regions(batch: Batch) -> Regions:
    """Rows that hold drawn codes (the last is never fed), on the words; padded-out words do not count."""
    keys = (batch.kind == TEXT) & (batch.cell < 0)
    return Regions(batch.kind == DRAWN, keys, (batch.labels != IGNORED).any(1))


def understanding_regions(batch: Batch) -> Regions:
    """Rows that hold reply tokens, end included, on the pictures before them; questions without pictures do not count."""
    replies = F.pad((batch.labels != IGNORED)[:, :-1], (1, 0)) & (batch.segment >= 0)
    keys = batch.kind == SEEN
    return Regions(replies, keys, replies.any(1) & keys.any(1))


REGIONS: dict[Want, Callable[[Batch], Regions]] = {"image": drawing_regions, "text": understanding_regions}

Weigh = Callable[[Tensor], tuple[Tensor, dict[str, float]]]
"""Adds the term to a loss; also gives numbers to log."""


@contextmanager
def aligned(alignment: Alignment | None, want: Want, star: Star, batch: Batch) -> Iterator[Weigh]:
    """Measure the passes inside the block; afterwards the yielded function adds the term to the loss.

    Without an ``alignment`` nothing is measured and the loss stays the very same tensor.
    """
    if alignment is None:
        yield lambda loss: (loss, {})
        return
    regions, masses = REGIONS[want](batch), []

    def weigh(loss: Tensor) -> tuple[Tensor, dict[str, Any]]:
        mass = torch.stack(masses)
        term = alignment.term(want, mass, regions.on)
        return loss + alignment.weight(want) * term, {"aia": term.item(), "mass": mass.detach()[:, regions.on].mean().item()}

    layers = [layer.self_attn for decoder in (star.base.model.language_model, star.stack) for layer in decoder.layers]
    with eager_maps(layers, lambda attention: masses.append(intensity(attention, regions.queries, regions.keys))):
        yield weigh
