"""Words after a prefix, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unimm.emu3.config import Ids
from unimm.emu3.language import Rows
from unimm.sampling import SamplingOptions, sample


def words_only(ids: Ids, vocabulary: int) -> Tensor:
    """Which ids an answer may have, bool [vocabulary]: words and the end. A picture code in an answer never means anything."""
    may = torch.zeros(vocabulary, dtype=torch.bool)
    may[: ids.pad] = True
    may[ids.eos] = True
    return may


def write(rows: Rows, may: Tensor, options: SamplingOptions, generator: torch.Generator) -> Iterator[tuple[int, float]]:
    """Ids of a text and the probability of each among those that ``may`` (bool [vocabulary]) allows, without an end of its own.

    A token is read when the next one is asked for, so stopping costs nothing.
    """
    token, may = None, may.to(rows.hidden.device)
    while True:
        with torch.inference_mode():
            if token is not None:
                rows.read([token])
            logits = rows.language.logits(rows.hidden[0, -1])
            logits = logits.masked_fill(~may, float("-inf"))
            token = int(sample(logits[None], options, generator))
            chance = float(logits.softmax(-1)[token])
        yield token, chance
