"""Source-speculative drawing: the source's tokens are the draft, and a whole run of them is checked in one pass.

Exact: greedy output is that of drawing token by token, sampled output has the same distribution. A draft token x is
kept with its own probability p(x); where it is not, the token comes from p without x, made to sum to one again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unimm.sampling import SamplingOptions, probabilities

FIRST_RUN, LEAST_RUN = 16, 2
"""How many draft tokens are checked at once to begin with, and at least."""
GROWTH, WEIGHT, REACH = 1.5, 0.3, 1.5
"""A run in which every draft stood makes the next one longer; else its length moves towards ``REACH`` times what stood.

A pass costs about as much as 16 more tokens in it, so checking too many wastes as much as checking too few.
"""


def accept_run(logits: Tensor, draft: Tensor, options: SamplingOptions, generator: torch.Generator | None = None) -> tuple[int, int | None]:
    """How many draft tokens stand, and the token in place of the first that does not (None where all stand).

    ``logits`` [n, codes] were computed with all draft tokens [n] before each place given.
    """
    if options.temperature <= 0:
        best = logits.argmax(-1)
        different = (best != draft.to(best.device)).nonzero()
        return (int(different[0]), int(best[different[0]])) if len(different) else (len(draft), None)
    chances = probabilities(logits, options)
    kept = torch.rand(len(draft), generator=generator) < chances.gather(1, draft[:, None].to(chances.device))[:, 0].cpu()
    if bool(kept.all()):
        return len(draft), None
    place = int((~kept).nonzero()[0])
    rest = chances[place].clone()
    rest[draft[place]] = 0
    if float(rest.sum()) <= 0:  # all mass on the draft token, and the random number was exactly one
        rest = chances[place]
    return place, int(torch.multinomial(rest.cpu(), 1, generator=generator))


def next_run(run: int, stood: int, checked: int) -> int:
    """How many draft tokens to check next, where ``stood`` tokens were settled out of ``checked``."""
    if stood == checked:
        return round(run * GROWTH) + 1
    return max(LEAST_RUN, round((1 - WEIGHT) * run + WEIGHT * REACH * stood))
