"""What there is to see on a drawn sheet, square by square: where it is wrong in itself, what is gone, and what is new.

A square goes by the point at its lower right corner, which is how a verdict names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from agents.tasks.figure import Point, Sheet, Square
from agents.tasks.geometry_pictures import SHOWN_PX, render
from agents.tasks.geometry_reader import unlike
from agents.tasks.geometry_rules import changed_points, joined, lost
from unimm.document import Image

Sights = Mapping[str, frozenset[Point]]
"""Kind of what is seen ("damaged", "missed", "marked", "ended") -> where."""


def news(before: Sheet, after: Sheet) -> dict[str, frozenset[Point]]:
    """The marks and ends of lines that one sheet has and the one before had not, and those that it has lost."""
    ends = (end for line in joined(after.lines) - joined(before.lines) for end in line)
    return {"missed": lost(before, after), "marked": after.marks - before.marks, "ended": frozenset(ends)}


def sights(before: Sheet, after: Sheet) -> Sights:
    """What there is to see on a sheet that is drawn as sheets are."""
    damaged: frozenset[Point] = frozenset()
    if before.figure != after.figure:
        given = Sheet(before.figure, after.marks, after.lines)
        damaged = changed_points(before.figure, after.figure) | corners(unlike(render(after), render(given)))
    return news(before, after) | {"damaged": damaged}


def corners(squares: Iterable[Square]) -> frozenset[Point]:
    """The points by which squares go."""
    return frozenset((row + 1, column + 1) for row, column in squares)


def redrawn(picture: Image, shown: Sheet, other: Sheet) -> Image:
    """A picture of the sheet ``shown`` with what the ``other`` has in its place; all else stays, blemishes too."""
    old, new = (np.frombuffer(render(sheet).rgb, np.uint8).reshape(SHOWN_PX, SHOWN_PX, 3) for sheet in (shown, other))
    kept = np.asarray(picture.to_pil().resize((SHOWN_PX, SHOWN_PX)))
    return Image(SHOWN_PX, SHOWN_PX, np.where((old != new).any(-1, keepdims=True), new, kept).tobytes())
