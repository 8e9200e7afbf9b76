"""A picture of a released STAR being drawn: VQ tokens count on in one line behind what the base has read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unimm.star.backbone import new_cache
from unimm.star.drawing import Drawing
from unimm.star.reading import Reading
from unimm.star.released import Caches, base_states, stack_states


class LineCanvas(Drawing):
    """Draws VQ ids [cells] after one reading, or after two of the same length: with the words and without, for guidance.

    The last token read opens the picture. ``draft`` [cells] are ids that may be right already (the source's).
    """

    def __init__(self, rows: Sequence[Reading], cells: int, draft: Tensor | None = None) -> None:
        super().__init__(cells, draft, len(rows))
        self.star, self._row = rows[0].star, rows[0]
        self._caches = Caches(base=side_by_side([row.cache for row in rows]))
        self._prompt = torch.cat([row.hidden for row in rows])
        self.raw: Tensor | None = None

    def _first(self, drafts: bool) -> Tensor:
        """The stack reads the prompt, which the base has read already, and with ``drafts`` the first of them behind it."""
        count = self._count(drafts)
        hidden, positions = self._prompt, self._row.positions
        if count > 1:
            places = self._row.places(self._row.length, count - 1)
            hidden = torch.cat([hidden, self._understand(self.ids[: count - 1], places)], 1)
            positions = torch.cat([positions, places], 1)
        return self._draw(hidden, positions, count)

    def _next(self, drafts: bool) -> Tensor:
        """Read the token settled last, and with ``drafts`` a run of them behind it."""
        before = self._row.length + self._done - 1
        for cache in (self._caches.base, self._caches.stack):
            if beyond := cache.get_seq_length() - before:
                cache.crop(-beyond)
        count = self._count(drafts)
        places = self._row.places(before, count)
        hidden = self._understand(self.ids[self._done - 1 : self._done - 1 + count], places)
        return self._draw(hidden, places, count)

    def _understand(self, ids: Tensor, places: Tensor) -> Tensor:
        embeds = self.star.drawn(ids.to(self.star.device))[None].expand(self._rows, -1, -1)
        return base_states(self.star, embeds, places, self._caches)

    def _draw(self, hidden: Tensor, positions: Tensor, count: int) -> Tensor:
        self.passes += 1
        out = stack_states(self.star, hidden, positions, self._caches)
        self.raw = self.star.pixel_logits(out[:, -count:]).float()
        return self.raw

    def _guide(self, logits: Tensor, weight: float) -> Tensor:
        self.logits = super()._guide(logits, weight)
        return self.logits


def side_by_side(caches: Sequence[object]) -> object:
    """Keys and values of several rows as one batch; one row shares its tensors."""
    both = new_cache()
    for index in range(len(caches[0].layers)):
        layers = [cache.layers[index] for cache in caches]
        both.update(torch.cat([layer.keys for layer in layers]), torch.cat([layer.values for layer in layers]), index)
    return both
