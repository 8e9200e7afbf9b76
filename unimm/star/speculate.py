"""Source-speculative drawing: the source's tokens are the draft, and a whole run of them is checked in one pass.

Exact: greedy output is that of drawing token by token, sampled output has the same distribution. A draft token x is
kept with its own probability p(x); where it is not, the token comes from p without x, made to sum to one again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unimm.sampling import SamplingOptions, probabilities


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
