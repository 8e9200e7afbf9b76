"""The order of a picture's tokens and the sizes a picture may have: pure functions of numbers.

A picture of H rows and W columns is (fact sheet: janus_pro_emu3, section 2)::

    image-start "H*W" image-token | W codes, end-of-line | ... H times | end-of-frame image-end
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unimm.errors import BadInput

if TYPE_CHECKING:
    from unimm.emu3.config import Ids

Encode = Callable[[str], Sequence[int]]
RATIOS = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3", "21:9")


@dataclass(frozen=True)
class Grid:
    """A picture's codes: ``rows`` x ``columns``."""

    rows: int
    columns: int

    @property
    def cells(self) -> int:
        return self.rows * self.columns

    @property
    def length(self) -> int:
        """Tokens after the header: all rows with their ends, end-of-frame, image-end and end-of-sequence."""
        return self.rows * (self.columns + 1) + 3


def header(grid: Grid, ids: Ids, encode: Encode) -> list[int]:
    """What opens a picture and says its size; every guidance row needs it, or it does not know where rows end."""
    return [ids.boi, *encode(f"{grid.rows}*{grid.columns}"), ids.img]


def picture_ids(codes: Sequence[Sequence[int]], ids: Ids, encode: Encode) -> list[int]:
    """A whole picture as token ids; ``codes`` row by row."""
    grid = Grid(len(codes), len(codes[0]))
    body = [token for row in codes for token in (*(ids.visual + code for code in row), ids.eol)]
    return [*header(grid, ids, encode), *body, ids.eof, ids.eoi]


def allowed(offset: int, grid: Grid, ids: Ids) -> int | None:
    """The only id that may stand ``offset`` (from 1) places after the last image-token; None where any code may.

    The rule of the row's end comes first, as in the reference, so past the picture it may win over padding.
    """
    if offset % (grid.columns + 1) == 0:
        return ids.eol
    beyond = offset - (grid.columns + 1) * grid.rows
    if beyond < 1:
        return None
    return {1: ids.eof, 2: ids.eoi, 3: ids.eos}.get(beyond, ids.pad)


def offset_of(sequence: Sequence[int], ids: Ids) -> int:
    """The offset of the next token: counted from the last image-token, since a prompt may show pictures of its own."""
    return list(reversed(sequence)).index(ids.img) + 1


def drawn_grid(ratio: str, area: int, factor: int) -> Grid:
    """Grid of a picture to draw: ``ratio`` "W:H" of about ``area`` pixels, ``factor`` pixels a code. Raises ``BadInput``."""
    try:
        wide, high = (int(side) for side in ratio.split(":"))
    except ValueError:
        raise BadInput(f"The ratio is two whole numbers like '16:9', not {ratio[:20]!r}.") from None
    if wide < 1 or high < 1 or max(wide, high) > 10 * min(wide, high):
        raise BadInput(f"The ratio {ratio[:20]!r} is too extreme. Take one between 1:10 and 10:1.")
    unit = math.sqrt(area / (wide * high)) / factor
    return Grid(max(1, round(high * unit)), max(1, round(wide * unit)))


def read_size(height: int, width: int, factor: int, smallest: int, largest: int) -> tuple[int, int]:
    """(height, width) at which a picture is read: sides are multiples of ``factor``, the area lies between the bounds (pixels)."""
    high, wide = round(height / factor) * factor, round(width / factor) * factor
    if high * wide > largest:
        shrink = math.sqrt(height * width / largest)
        return tuple(max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
    if high * wide < smallest:
        grow = math.sqrt(smallest / (height * width))
        return tuple(math.ceil(side * grow / factor) * factor for side in (height, width))
    return high, wide
