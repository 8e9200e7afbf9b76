"""A picture being drawn, whatever the size of the model: token after token, or a run of a draft's at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unimm.model import Options
from unimm.sampling import guided, sample
from unimm.star.speculate import FIRST_RUN, accept_run, next_run


class Drawing:
    """VQ ids [cells] on their way; ``_first`` and ``_next`` say how the model is fed.

    ``draft`` [cells] are ids to begin from (when editing: the source's); None draws from nothing. ``rows`` is 1, or 2 with a
    row for guidance that has no words.
    """

    def __init__(self, cells: int, draft: Tensor | None, rows: int) -> None:
        self.cells, self.source = cells, draft
        self.ids = draft.clone() if draft is not None else torch.zeros(cells, dtype=torch.long)
        self.passes, self._done, self._rows = 0, 0, rows
        self._ahead = FIRST_RUN

    def preview(self) -> Tensor:
        """The ids so far: settled ones, the draft's behind them."""
        return self.ids

    def fill(self, options: Options, generator: torch.Generator) -> Iterator[int]:
        """Draw; after every pass yields how many tokens are settled."""
        drafts = self.source is not None and options.speculative
        with torch.inference_mode():
            logits = self._first(drafts)
        while True:
            with torch.inference_mode():
                self._settle(self._guide(logits, options.guidance), drafts, options, generator)
            yield self._done
            if self._done == self.cells:
                return
            with torch.inference_mode():
                logits = self._next(drafts)

    def _first(self, drafts: bool) -> Tensor:
        """Logits [rows, n, codes] of the first ``n`` cells (``_count``)."""
        raise NotImplementedError

    def _next(self, drafts: bool) -> Tensor:
        """The same of the first cells that are not settled."""
        raise NotImplementedError

    def _count(self, drafts: bool) -> int:
        """How many cells a pass is about: one, or with ``drafts`` a run of those that are not settled."""
        return min(self._ahead, self.cells - self._done) if drafts else 1

    def _settle(self, logits: Tensor, drafts: bool, options: Options, generator: torch.Generator) -> None:
        """Decide the tokens that ``logits`` [n, codes] are for, from the first unsettled cell on."""
        if not drafts:
            self.ids[self._done] = int(sample(logits[:1], options, generator))
            self._done += 1
            return
        kept, token = accept_run(logits, self.ids[self._done : self._done + len(logits)], options, generator)
        self._done += kept
        if token is not None:
            self.ids[self._done] = token
            self._done += 1
        self._ahead = next_run(self._ahead, kept + (token is not None), len(logits))

    def _guide(self, logits: Tensor, weight: float) -> Tensor:
        return logits[0] if self._rows == 1 else guided(logits[0], logits[1], weight)
