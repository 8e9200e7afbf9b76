"""Where everything stands in the sequence: which token is a word, a seen picture cell or a drawn one, and its rope position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

TEXT, SEEN, SOURCE, DRAWN = range(4)
"""Kinds of a position: a text token, a vision tower token, a VQ token of the source, an input that draws the next VQ token."""


@dataclass
class Layout:
    """A sequence under construction, as parallel lists; ``arrays`` freezes it.

    ``ids`` holds text ids, ``slot`` the index of a picture token among the tokens of all pictures handed in
    (picture number times cells, plus cell), ``cell`` the grid place that a picture token belongs to (for an
    input that draws: the place it draws), ``segment`` which branch of a lesson a token belongs to.
    Positions follow ``shared_grid`` of the configuration: a picture takes one step of the time axis.
    """

    columns: int
    stride: int
    ids: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    slot: list[int] = field(default_factory=list)
    cell: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    position: list[tuple[int, int, int]] = field(default_factory=list)
    time: int = 0
    branch: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def _add(self, ids: int, kind: int, slot: int, cell: int, position: tuple[int, int, int]) -> None:
        self.ids.append(ids)
        self.kind.append(kind)
        self.slot.append(slot)
        self.cell.append(cell)
        self.segment.append(self.branch)
        self.position.append(position)

    def _place(self, cell: int) -> tuple[int, int, int]:
        return self.time, cell // self.columns * self.stride, cell % self.columns * self.stride

    def text(self, ids: Iterable[int]) -> None:
        for token in ids:
            self._add(token, TEXT, 0, -1, (self.time, self.time, self.time))
            self.time += 1

    def picture(self, kind: int, first: int, cells: int) -> None:
        """All tokens of one picture; ``first`` is the slot of its first cell."""
        for cell in range(cells):
            self._add(0, kind, first + cell, cell, self._place(cell))
        self.time += 1

    def canvas(self, begin: int, first: int, cells: int, given: int | None = None) -> None:
        """The inputs that draw a picture: the token ``begin`` draws cell 0, VQ token i draws cell i + 1.

        ``given`` is how many VQ tokens are already known (at most ``cells`` - 1, the default).
        """
        self._add(begin, TEXT, 0, 0, self._place(0))
        self.inputs(first, range(1, cells if given is None else given + 1))

    def inputs(self, first: int, cells: Iterable[int]) -> None:
        """More inputs of the same canvas: VQ token ``cell - 1`` draws ``cell``."""
        for cell in cells:
            self._add(0, DRAWN, first + cell - 1, cell, self._place(cell))

    def arrays(self) -> dict[str, np.ndarray]:
        """int64 arrays [L] under the names above; ``position`` is [L, 3]."""
        names = ("ids", "kind", "slot", "cell", "segment")
        return {name: np.array(getattr(self, name), dtype=np.int64) for name in names} | {
            "position": np.array(self.position, dtype=np.int64).reshape(-1, 3)
        }
