"""One picture being drawn: codes row by row, guided, only where the grammar leaves a choice."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unimm.emu3.grammar import Grid, allowed
from unimm.emu3.language import Rows
from unimm.sampling import SamplingOptions, guided, sample


class Canvas:
    """Draws the codes [rows, columns] of one picture after one prefix, or after two: the prompt's and the negative one's.

    Prefixes end with the picture's header. Guidance is ``u + w (c - u)`` on raw logits of the codes alone, before top-k and
    top-p: log-probabilities differ from them by constants that no draw sees (fact sheet: janus_pro_emu3, section 2.4). Tokens
    that the grammar forces are read together with the code before them, and those after the last code not at all.
    """

    def __init__(self, rows: Rows, grid: Grid) -> None:
        self.rows, self.grid, self.ids = rows, grid, rows.language.ids
        self.codes = torch.zeros(grid.cells, dtype=torch.long)
        self.done = 0

    def fill(self, options: SamplingOptions, weight: float, generator: torch.Generator) -> Iterator[int]:
        """Draw; after every code yields how many are settled."""
        pending: list[int] = []
        offset = 1
        while self.done < self.grid.cells:
            token = allowed(offset, self.grid, self.ids)
            if token is None:
                with torch.inference_mode():
                    token = self._draw(pending, options, weight, generator)
                pending = [token]
                yield self.done
            else:
                pending.append(token)
            offset += 1

    def _draw(self, pending: list[int], options: SamplingOptions, weight: float, generator: torch.Generator) -> int:
        """Read what is settled and not yet read, then draw one code; its token id."""
        if pending:
            self.rows.read(pending)
        logits = self.rows.language.logits(self.rows.hidden[:, -1], self.ids.visual_slice)
        self.codes[self.done] = int(sample(guide(logits, weight)[None], options, generator))
        self.done += 1
        return self.ids.visual + int(self.codes[self.done - 1])

    @property
    def finished_rows(self) -> int:
        return self.done // self.grid.columns

    def picture(self, rows: int | None = None) -> Tensor:
        """The codes of the upper ``rows`` (all by default) as [1, rows, columns]."""
        count = self.grid.rows if rows is None else rows
        return self.codes[: count * self.grid.columns].view(1, count, self.grid.columns)


def guide(logits: Tensor, weight: float) -> Tensor:
    """Logits [rows, vocabulary] of one or two branches to one [vocabulary]."""
    return logits[0] if len(logits) == 1 else guided(logits[0], logits[1], weight)


def token_ids(codes: Tensor, grid: Grid, rows: Rows) -> list[int]:
    """All tokens after the header that stand for codes [rows, columns], up to the end of the sequence."""
    ids, left = rows.language.ids, iter(codes.flatten().tolist())
    forced = (allowed(offset, grid, ids) for offset in range(1, grid.length + 1))
    return [ids.visual + next(left) if token is None else token for token in forced]
