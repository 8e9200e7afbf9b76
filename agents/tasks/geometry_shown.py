"""What a geometry sheet shows in plain words, read from its pixels alone, for models that draw anew from words."""

from __future__ import annotations

import numpy as np

from agents.tasks.figure import Point, Sheet, point_name
from agents.tasks.geometry_pictures import INK, PAPER, SHOWN_PX, VERTEX_PX, dot_stain
from agents.tasks.geometry_reader import Reading, read
from agents.tasks.geometry_strokes import covers
from unimm.document import Image

_ORANGE = 0.2  # share of orange from which a pixel is no longer looked at as ink


def picture_words(image: Image) -> str:
    """All that a sheet shows; "" where it cannot be read."""
    sheet = _whole_sheet(image, read(image))
    return "" if sheet is None else sheet_words(sheet)


def _whole_sheet(image: Image, reading: Reading) -> Sheet | None:
    """The sheet with its figure, which orange may hide at the corners that are marked or where lines end."""
    if reading.stray or reading.sheet is None:
        return None
    bare = _without_orange(image, reading.sheet)
    figure = read(bare).sheet if bare is not None else None
    if figure is None:
        return None
    again = read(image, figure.figure)
    return None if again.unclear else again.sheet


def _without_orange(image: Image, sheet: Sheet) -> Image | None:
    """The picture with orange turned to ink where a point of the figure or a side may be below it, else to paper."""
    seen = covers(image)
    if seen is None:
        return None
    pixels = np.asarray(image.to_pil().resize((SHOWN_PX, SHOWN_PX))).reshape(-1, 3).copy()
    orange = (seen.orange > _ORANGE).ravel()
    pixels[orange] = PAPER
    for point in {*sheet.marks, *(end for line in sheet.lines for end in line)}:
        where = dot_stain(point, VERTEX_PX)[0]
        pixels[where[orange[where]]] = INK
    return Image(SHOWN_PX, SHOWN_PX, pixels.tobytes())


def sheet_words(sheet: Sheet) -> str:
    figure = sheet.figure
    letters = {point: letter for letter, point in figure.points}

    def said(point: Point) -> str:
        return f"{letters[point]} ({point_name(point)})" if point in letters else point_name(point)

    parts = [f"points {', '.join(f'{letter} at {point_name(point)}' for letter, point in figure.points)}"]
    if figure.circle:
        parts.append(f"a circle around {said(figure.circle[0])} with a radius of {figure.circle[1]} squares")
    parts += [f"a dark line from {said(p)} to {said(q)}" for p, q in figure.sides]
    parts += [f"an orange mark at {said(mark)}" for mark in sorted(sheet.marks)]
    parts += [f"an orange line from {said(p)} to {said(q)}" for p, q in sorted(sheet.lines)]
    return f"On squared paper: {'; '.join(parts)}."
