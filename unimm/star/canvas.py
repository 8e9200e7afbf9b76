"""A picture of the embedded model being drawn: the stack over what the base has read, cells on the shared grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unimm.star.backbone import causal_mask, new_cache
from unimm.star.drawing import Drawing
from unimm.star.layout import SOURCE, Layout
from unimm.star.model import Star
from unimm.star.prefix import Prefix


class Canvas(Drawing):
    """Draws VQ ids [cells] after one prefix, or after two: with the words and without, for guidance.

    ``source_ids`` [cells] are the tokens of the picture that is edited; None draws from nothing.
    """

    def __init__(self, star: Star, rows: Sequence[Prefix], columns: int, source_ids: Tensor | None, begin: int) -> None:
        super().__init__(len(source_ids) if source_ids is not None else columns * columns, source_ids, len(rows))
        self.star, self.columns, self._begin = star, columns, begin
        self._base, self._stack = _side_by_side(rows), new_cache()
        self._hidden = torch.cat([prefix.hidden for prefix in rows])
        self._position = rows[0].position
        self._time = rows[0].time
        with torch.inference_mode():
            self._lean = star.lean(source_ids)

    def _first(self, drafts: bool) -> Tensor:
        """Read the source and the beginning of the canvas; with ``drafts`` also the first of the source's tokens as if they were drawn."""
        layout = Layout(self.columns, self.star.config.grid_stride, time=self._time)
        if self.source is not None:
            layout.picture(SOURCE, 0, self.cells)
        count = self._count(drafts)
        layout.canvas(self._begin, 0, self.cells, count - 1)
        self._time = layout.time
        return self._run(layout, count, first=True)

    def _next(self, drafts: bool) -> Tensor:
        """Read the token settled last, and with ``drafts`` a run of the source's tokens behind it."""
        beyond = self._base.get_seq_length() - (self._before + self._done)
        if beyond:
            self._base.crop(-beyond)
            self._stack.crop(-beyond)
        layout = Layout(self.columns, self.star.config.grid_stride, time=self._time)
        layout.inputs(0, range(self._done, self._done + self._count(drafts)))
        return self._run(layout, len(layout))

    def _run(self, layout: Layout, count: int, first: bool = False) -> Tensor:
        """One pass of base and stack; logits [rows, count, codes] of the last ``count`` inputs."""
        self.passes += 1
        fields = {name: torch.from_numpy(values)[None].expand(self._rows, -1) for name, values in layout.arrays().items()
                  if name not in ("segment", "position")}  # fmt: skip
        position = torch.from_numpy(layout.arrays()["position"]).T[:, None]
        codes = self.ids[None].expand(self._rows, -1)
        embeds = self.star.embed(**fields, columns=self.columns, seen=None, codes=codes)
        cached = self._base.get_seq_length()
        hidden = self.star.understand(embeds, position, causal_mask(len(layout), cached), self._base)
        if first:  # the stack has read nothing yet: it starts with the prefix
            hidden, position = torch.cat([self._hidden, hidden], 1), torch.cat([self._position, position], 2)
            self._before = cached + len(layout) - count
            out = self.star.draw(hidden, position, causal_mask(hidden.shape[1]), self._stack)
        else:
            out = self.star.draw(hidden, position, causal_mask(len(layout), cached), self._stack)
        here = slice(self._done, self._done + count)
        source = None if self.source is None else self.source[here].expand(self._rows, -1)
        return self.star.pixel_logits(out[:, -count:], source, None if self._lean is None else self._lean[here])


def _side_by_side(rows: Sequence[Prefix]) -> object:
    """The rows' keys and values as one batch; one row shares its tensors."""
    cache = new_cache()
    for index in range(len(rows[0].cache.layers)):
        layers = [row.cache.layers[index] for row in rows]
        keys, values = (layers[0].keys, layers[0].values) if len(rows) == 1 else (
            torch.cat([layer.keys for layer in layers]), torch.cat([layer.values for layer in layers]))  # fmt: skip
        cache.update(keys, values, index)
    return cache
