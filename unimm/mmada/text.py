"""Words by block diffusion: masked columns are filled block after block, the surest first (fact sheet mmada, sections 7 and 14)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unimm.errors import BadInput
from unimm.mmada.backbone import Backbone, Cache, key_bias
from unimm.mmada.schedule import transfer_counts
from unimm.sampling import guided

CACHES = ("none", "prefix", "dual")
"""What is kept of a block's first pass: nothing; the columns before the block; all columns but the block's own."""

REMASKINGS = ("low_confidence", "random")


@dataclass(frozen=True)
class WritePlan:
    """How to fill ``length`` columns.

    ``steps`` are spread over the blocks. ``guidance`` 1 is off (the published cfg is this less one). With ``threshold`` every
    candidate at least so probable is settled, with ``factor`` the leading ones whose probabilities allow it; both replace the
    steps. ``within_block`` keeps masks in the prompt out of it; ``stop`` ends after a block whose last token is this id in
    every row. ``barred`` [vocabulary] marks ids never to be written.
    """

    length: int
    block: int
    steps: int
    temperature: float = 0.0
    guidance: float = 1.0
    remasking: str = "low_confidence"
    threshold: float | None = None
    factor: float | None = None
    cache: str = "none"
    within_block: bool = False
    stop: int | None = None
    barred: Tensor | None = None

    def __post_init__(self) -> None:
        if self.length < 1 or self.block < 1 or self.length % self.block:
            raise BadInput(f"The text length {self.length} must be a multiple of the block length {self.block}.")
        if self.steps < 1 or self.steps % self.blocks:
            raise BadInput(f"The number of steps, {self.steps}, must be a multiple of the number of blocks, {self.blocks}.")
        if self.cache not in CACHES or self.remasking not in REMASKINGS:
            raise BadInput(f"The cache must be one of {', '.join(CACHES)}, the remasking one of {', '.join(REMASKINGS)}.")

    @property
    def blocks(self) -> int:
        return self.length // self.block

    @property
    def adaptive(self) -> bool:
        """Whether probabilities decide how many columns a step settles."""
        return self.threshold is not None or self.factor is not None


class WriteNoise(Protocol):
    """Uniform random numbers in [0, 1) for the columns ``first`` to ``last``."""

    def candidates(self, first: int, last: int, rows: int, vocabulary: int) -> Tensor:
        """fp64 [rows, last - first, vocabulary]."""
        ...

    def order(self, first: int, last: int, rows: int) -> Tensor:
        """fp32 [rows, last - first]."""
        ...


@dataclass(frozen=True)
class SeededNoise:
    """Numbers of one CPU generator: the same on every device."""

    generator: torch.Generator

    def candidates(self, first: int, last: int, rows: int, vocabulary: int) -> Tensor:
        return torch.rand(rows, last - first, vocabulary, dtype=torch.float64, generator=self.generator)

    def order(self, first: int, last: int, rows: int) -> Tensor:
        return torch.rand(rows, last - first, generator=self.generator)


@dataclass(frozen=True)
class WriteStep:
    """The state after a step: ``ids`` [B, L], fp64 ``confidence`` [B, L] (-inf: not eligible), ``settled`` [B] columns.

    ``fed`` is the shape of the ids that the backbone was given, None where the block was full and nothing was computed.
    """

    ids: Tensor
    confidence: Tensor
    settled: Tensor
    block: int
    fed: tuple[int, int] | None


class Reader:
    """Runs the backbone over what a step needs, with or without a cache."""

    def __init__(self, backbone: Backbone, prompt: Tensor, plan: WritePlan, mask: Tensor | None) -> None:
        self.backbone, self.plan = backbone, plan
        self.said = prompt != backbone.config.mask
        # The reference's guided pass knows no padding, in either branch.
        self.bias = key_bias(mask) if plan.guidance == 1 else None
        self.cache = Cache() if plan.cache != "none" else None
        self.fed = (0, 0)

    def logits(self, ids: Tensor, first: int, last: int, block: tuple[int, int], opens: bool) -> Tensor:
        """fp32 logits [B, last - first, vocabulary] of a window of columns; ``opens`` marks a block's first step."""
        rows = ids if self.plan.guidance == 1 else torch.cat([ids, self._unsaid(ids)])
        if self.cache is None or opens:
            begin, columns = 0, None
        else:
            begin = block[0]
            columns = torch.arange(begin, ids.shape[1] if self.plan.cache == "prefix" else block[1], device=ids.device)
            rows = rows[:, columns]
        self.fed = (rows.shape[0], rows.shape[1])
        hidden = self.backbone(rows, self.bias, self.cache, columns)
        logits = self.backbone.logits(hidden[:, first - begin : last - begin])
        return logits if self.plan.guidance == 1 else guided(*logits.chunk(2), self.plan.guidance)

    def _unsaid(self, ids: Tensor) -> Tensor:
        """The same rows with every token of the prompt masked."""
        bare = ids.clone()
        bare[:, : self.said.shape[1]].masked_fill_(self.said, self.backbone.config.mask)
        return bare


@torch.inference_mode()
def write(backbone: Backbone, prompt: Tensor, plan: WritePlan, noise: WriteNoise, mask: Tensor | None = None) -> Iterator[WriteStep]:
    """Fill ``plan.length`` masks after ``prompt`` [B, n]; yields after every step.

    ``mask`` [B, n + length] is 0 on padding. With a cache only the current block is eligible, since nothing else is computed.
    """
    blank = backbone.config.mask
    ids = torch.cat([prompt, torch.full((len(prompt), plan.length), blank, device=prompt.device)], 1)
    reader = Reader(backbone, prompt, plan, mask)
    for number in range(plan.blocks):
        begin = prompt.shape[1] + number * plan.block
        block = begin, begin + plan.block
        counts = transfer_counts((ids[:, slice(*block)] == blank).sum(1), plan.steps // plan.blocks)
        turn = 0
        while turn < counts.shape[1] or plan.adaptive:
            eligible = ids == blank
            eligible[:, block[1] :] = False
            if plan.within_block or (reader.cache is not None and turn):
                eligible[:, :begin] = False
            full = not bool(eligible[:, begin:].any())
            if full and plan.adaptive:
                break
            step = _idle(ids, number) if full and not bool(eligible.any()) else None
            if step is None:
                step = _step(reader, ids, eligible, counts[:, turn] if not plan.adaptive else None, block, number, turn == 0, noise)
            stuck = plan.adaptive and torch.equal(step.ids, ids)
            ids, turn = step.ids, turn + 1
            yield step
            if stuck:
                break
        if plan.stop is not None and bool((ids[:, block[1] - 1] == plan.stop).all()):
            return


def _idle(ids: Tensor, number: int) -> WriteStep:
    """A step of a block that is already full: computes nothing, changes nothing."""
    nothing = torch.full(ids.shape, -math.inf, dtype=torch.float64, device=ids.device)
    return WriteStep(ids, nothing, torch.zeros(len(ids), dtype=torch.long, device=ids.device), number, None)


def _step(
    reader: Reader, ids: Tensor, eligible: Tensor, counts: Tensor | None, block: tuple[int, int], number: int, opens: bool,
    noise: WriteNoise,
) -> WriteStep:  # fmt: skip
    """One pass, and the surest of its candidates put in place."""
    plan = reader.plan
    first, last = int(eligible.any(0).nonzero()[0]), block[1]
    logits = reader.logits(ids, first, last, block, opens)
    if plan.barred is not None:
        logits = logits.masked_fill(plan.barred, -math.inf)
    tokens = candidates(logits, plan.temperature, noise, first, last)
    if plan.remasking == "random":
        scores = noise.order(first, last, len(ids)).to(ids.device).double()
    else:
        scores = chosen_probability(logits, tokens)
    window = eligible[:, first:last]
    scores = scores.masked_fill(~window, -math.inf)
    chosen = window & settle(scores, window, counts, plan.threshold, plan.factor)
    new = ids.clone()
    new[:, first:last] = torch.where(chosen, tokens, ids[:, first:last])
    confidence = torch.full(ids.shape, -math.inf, dtype=torch.float64, device=ids.device)
    confidence[:, first:last] = scores
    settled = counts if counts is not None else chosen.sum(1)
    return WriteStep(new, confidence, settled, number, reader.fed)


def candidates(logits: Tensor, temperature: float, noise: WriteNoise, first: int = 0, last: int | None = None) -> Tensor:
    """A token per column, [B, n] from logits [B, n, V]: the likeliest, or the argmax of l - T ln(-ln u) in fp64."""
    if temperature <= 0:
        return logits.argmax(-1)
    last = first + logits.shape[1] if last is None else last
    uniform = noise.candidates(first, last, len(logits), logits.shape[-1]).to(logits.device)
    return (logits.double() - temperature * torch.log(-torch.log(uniform))).argmax(-1)


def chosen_probability(logits: Tensor, tokens: Tensor) -> Tensor:
    """fp64 probability [B, n] of ``tokens`` under logits without noise."""
    wide = logits.double()
    return (wide.gather(-1, tokens[..., None])[..., 0] - wide.logsumexp(-1)).exp()


def settle(scores: Tensor, eligible: Tensor, counts: Tensor | None, threshold: float | None = None, factor: float | None = None) -> Tensor:
    """Which columns of a window [B, n] become final: the ``counts`` [B] best, or as many as probabilities allow.

    Threshold: every score of at least it, and always the best. Factor f: rank 1 always, rank n while its score is at least
    1 - f / (n + 1); where all but one of a row pass, that one passes too, as in the reference.
    """
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(scores.shape[1], device=scores.device)
    if threshold is not None:
        allowed = (ordered >= threshold) | (rank == 0)
    elif factor is not None:
        passes = (ordered >= 1 - factor / (rank + 2)) | (rank == 0)
        run, left = passes.long().cumprod(-1).sum(-1), eligible.sum(-1)
        allowed = rank < torch.where(run >= left - 1, left, run)[:, None]
    elif counts is not None:
        allowed = rank < counts[:, None]
    else:
        raise BadInput("A step needs a count, a threshold or a factor.")
    return torch.zeros_like(eligible).scatter(-1, order, allowed)
