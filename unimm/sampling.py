"""From logits to token ids: guidance, the top-k and top-p filter, and seeded draws. Pure functions."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class SamplingOptions(Protocol):
    """The fields of ``unimm.model.Options`` that a draw needs."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...


def guided(cond: Tensor, uncond: Tensor, weight: float) -> Tensor:
    """Classifier-free guidance: away from ``uncond``, towards ``cond``; weight 1 gives ``cond`` (to rounding)."""
    return uncond + weight * (cond - uncond)


def filter_logits(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Put -inf where a token must not be drawn; logits [..., vocabulary].

    First top-k: everything strictly below the k-th largest goes, so ties may leave more than k; 0 keeps all.
    Then top-p on what is left: the likeliest tokens stay up to and including the one whose cumulative
    probability first exceeds ``top_p``; 1 keeps all. The order and the tie rule are STAR's.
    """
    if top_k > 0:
        threshold = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < threshold, float("-inf"))
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        beyond = ordered.softmax(-1).cumsum(-1) > top_p
        drop = torch.cat([torch.zeros_like(beyond[..., :1]), beyond[..., :-1]], -1)
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), float("-inf"))
    return logits


def probabilities(logits: Tensor, options: SamplingOptions) -> Tensor:
    """The distribution that ``sample`` draws from, fp32 [..., vocabulary]; at temperature 0 all mass on the first maximum."""
    logits = logits.float()
    if options.temperature <= 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    return filter_logits(logits / options.temperature, options.top_k, options.top_p).softmax(-1)


def sample(logits: Tensor, options: SamplingOptions, generator: torch.Generator | None = None) -> Tensor:
    """Draw one id per row: logits [..., vocabulary] to ids [...].

    Temperature 0 takes the first maximum and touches no random state. The draw happens on the generator's device,
    so a CPU generator gives the same stream of random numbers whatever the model runs on.
    """
    if options.temperature <= 0:
        return logits.argmax(-1)
    rows = probabilities(logits, options).reshape(-1, logits.shape[-1])
    drawn = torch.multinomial(rows.to(generator.device) if generator is not None else rows, 1, generator=generator)
    return drawn.to(logits.device).view(logits.shape[:-1])
