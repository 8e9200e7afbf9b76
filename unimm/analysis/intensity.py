"""From attention maps to one number a layer: the mass that some rows put on some columns (fact sheet: aia, section 2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from einops import rearrange, reduce
from torch import Tensor

from unimm.analysis.spans import Span, Spans, mark
from unimm.errors import BadInput


def intensity(attention: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Cross-modal interaction of one layer, float32 [B] in 0..1, differentiable.

    ``attention`` [B, H, rows, S] holds probabilities after softmax; ``queries`` [B, rows] and ``keys`` [B, S] mark what counts.
    Sum over the columns, mean over the rows, mean over the heads. A sample without rows gets 0.
    """
    rows, columns = _box(queries), _box(keys)
    seen = attention[:, :, rows, columns] * rearrange(keys[:, columns], "b k -> b 1 1 k")
    mass = seen.sum(-1, dtype=torch.float32) * rearrange(queries[:, rows], "b q -> b 1 q")
    return reduce(mass, "b h q -> b", "sum") / (mass.shape[1] * queries.sum(1).clamp(min=1))


def _box(marks: Tensor) -> slice:
    """The smallest range that holds every marked position of the batch, so that only this part of a map is touched."""
    places = marks.any(0).nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def interaction(attentions: Iterable[Tensor], queries: Sequence[Spans], keys: Sequence[Spans]) -> Tensor:
    """Cross-modal interaction of every layer, float32 [layers, B].

    ``attentions`` gives one map [B, H, S, S] a layer (or of some rows only, [B, H, rows, S]); an iterator is read one layer
    at a time, so that no two maps need be in memory. ``queries`` and ``keys`` hold the half-open spans of each sample: all
    its spans are averaged together. Raises ``BadInput`` for a span outside the map and for a sample without rows or columns.
    """
    if not all(map(len, queries)) or not all(map(len, keys)):
        raise BadInput("A sample has no rows or no columns to measure. Give it at least one span of each.")
    layers = []
    for attention in attentions:
        rows, columns = (mark(spans, size).to(attention.device) for spans, size in zip((queries, keys), attention.shape[-2:], strict=True))
        layers.append(intensity(attention, rows, columns))
    if not layers:
        raise BadInput("There is no attention map to measure. Run the model with attention maps switched on.")
    return torch.stack(layers)


def per_step(steps: Iterable[Tensor], keys: Span) -> Tensor:
    """Interaction while decoding, float32 [steps, layers]: the mass that each new position puts on ``keys``.

    ``steps`` gives one map [layers, H, keys so far] a step, of that step's single query; the prefill is not among them.
    """
    start, stop = keys
    rows = [reduce(step[..., start:stop].sum(-1, dtype=torch.float32), "layers h -> layers", "mean") for step in steps]
    if not rows:
        raise BadInput("There is no step after the prefill to measure. Decode at least two tokens.")
    return torch.stack(rows)


def decode_curve(steps: Iterable[Tensor], keys: Span) -> Tensor:
    """The curve [layers] that the published plots show: ``per_step`` averaged over the steps."""
    return per_step(steps, keys).mean(0)
