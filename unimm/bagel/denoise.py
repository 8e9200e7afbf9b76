"""The decoder over one noisy picture against several contexts at once.

The branches of guidance read the same noise with the same weights; only their contexts differ. So their rows are packed
into one matrix a layer, each weight is read once, and attention alone is done branch by branch, each against its own
workspace: no padding, no masks. Branches whose contexts are the same content share one computation: text to image
without a thought has no pictures to drop, so its third branch is its first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unimm.bagel.context import Context
from unimm.bagel.model import Bagel, Marks
from unimm.bagel.mot import Batch, Query, Rows
from unimm.bagel.pictures import Grid, places


class Denoiser:
    """One picture of ``grid`` latent tokens drawn after named contexts. Contexts are copied into workspaces here, once."""

    def __init__(self, bagel: Bagel, contexts: Mapping[str, Context], grid: Grid, marks: Marks) -> None:
        self.bagel, self.contexts, self.tokens = bagel, dict(contexts), grid[0] * grid[1]
        self.places = places(grid, bagel.config.latent_side)
        self.border = bagel.words([marks.image_begin, marks.image_end])
        self._different: dict[str, Context] = {}
        self._leads: dict[str, str] = {}
        for name, context in self.contexts.items():
            same = next((other for other, known in self._different.items() if _same(known, context)), name)
            self._leads[name] = same
            self._different.setdefault(same, context)
        self._spaces = {name: bagel.workspace(context, self.tokens + 2) for name, context in self._different.items()}
        self._batches: dict[tuple[str, ...], Batch] = {}

    @property
    def device(self) -> torch.device:
        return self.bagel.device

    def leaders(self, names: Sequence[str]) -> tuple[str, ...]:
        """One branch for each different context among ``names``."""
        return tuple(dict.fromkeys(self._leads[name] for name in names))

    def different(self, names: Sequence[str]) -> int:
        """How many contexts a pass over these branches runs with."""
        return len(self.leaders(names))

    def query(self, name: str, index: int = 0) -> Query:
        """The noisy picture of one branch, as the ``index``-th of a batch: all rows at the context's next rope position."""
        rope = torch.full((self.tokens + 2,), self.contexts[name].rope, device=self.device)
        latents = slice(index * self.tokens, (index + 1) * self.tokens)
        return Query(self._spaces[self._leads[name]], rope, slice(2 * index, 2 * index + 2), latents)

    def rows(self, x: Tensor, t: float) -> Rows:
        """What one branch feeds: the two marks, and the latent rows of ``x`` [n, channels] at time ``t``."""
        return {"und": self.border, "gen": self.bagel.latent_rows(x, t, self.places)}

    def run(self, x: Tensor, t: float, names: Sequence[str]) -> dict[str, Rows]:
        """The last layer's rows of every branch, not yet normed; nothing is cached."""
        leaders = self.leaders(names)
        if leaders not in self._batches:
            self._batches[leaders] = self.bagel.language_model.batch([self.query(name, i) for i, name in enumerate(leaders)])
        batch = self._batches[leaders]
        fed = self.rows(x, t)
        out = self.bagel.language_model({expert: rows.repeat(len(leaders), 1) for expert, rows in fed.items()}, batch)
        found = {name: {"und": out["und"][q.und], "gen": out["gen"][q.gen]} for name, q in zip(leaders, batch.queries, strict=True)}
        return {name: found[self._leads[name]] for name in names}

    def hidden(self, x: Tensor, t: float, names: Sequence[str]) -> dict[str, Tensor]:
        """The latent rows alone."""
        return {name: rows["gen"] for name, rows in self.run(x, t, names).items()}

    def velocities(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every branch's velocity [n, channels] in fp32."""
        known: dict[int, Tensor] = {}
        return {name: known.setdefault(id(rows), self.bagel.velocity(rows)) for name, rows in hidden.items()}


def _same(one: Context, other: Context) -> bool:
    return one is other or (bool(one.key) and one.key == other.key) or (one.length == other.length == 0 and one.rope == other.rope)
