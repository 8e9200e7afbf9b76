"""Break this picture: a copy of a drawn picture that a visitor damages, to see who notices."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from agents import looks
from agents.tasks import figure, geometry_pictures, geometry_reader, maze, scene
from agents.trace import Trace
from unimm.document import Image
from unimm.errors import BadInput

MOST_CHANGES = 64


Change = Mapping[str, str]
"""{"tool": its name, "at": a place, "to": a place, a colour or a kind of cell}."""


def damaged(trace: Trace, step_id: int, layer: bytes = b"", changes: Any = ()) -> Image:
    """The picture of a step with the visitor's damage: first ``changes`` by the task's tools, then what a brush put over it.

    ``layer`` is a PNG of the part of the picture that a page shows, transparent where nothing was painted (b"": no brush).
    Raises ``BadInput`` for steps without a picture and for damage that fits none.
    """
    step = trace.step(step_id)
    if step.image is None or step.kind not in ("draw", "revise"):
        raise BadInput("Only a drawn picture can be broken. Choose a step that draws or redraws.")
    if not isinstance(changes, list | tuple) or len(changes) > MOST_CHANGES:
        raise BadInput(f"changes must be a list of at most {MOST_CHANGES} changes.")
    problem, image = looks.problem_of(trace), step.image
    tools = TOOLS[trace.task]
    for change in changes:
        if not isinstance(change, dict) or not all(isinstance(value, str) for value in change.values()):
            raise BadInput("A change is an object of texts that names its tool and what the tool needs.")
        tool = tools.get(change.get("tool", ""))
        if tool is None:
            raise BadInput(f"There is no tool {change.get('tool', '')[:40]!r} for this picture. Use one of: {', '.join(tools)}.")
        image = tool(image, problem, change)
    return _painted(image, looks.window(problem, image), layer) if layer else image


def _painted(image: Image, window: tuple[int, int, int, int], layer: bytes) -> Image:
    left, top, right, bottom = window
    try:
        brush = PILImage.open(io.BytesIO(layer), formats=("PNG",))
        if brush.size != (right - left, bottom - top):
            raise BadInput(f"The painted layer must be {right - left}x{bottom - top} pixels, like the picture that is shown.")
        brush = brush.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadInput("The painted layer is no PNG picture.") from error
    # A pixel is painted or not: half-transparent rims, which no renderer makes, would be a damage of their own.
    brush.putalpha(brush.getchannel("A").point(lambda alpha: 255 * (alpha > 127)))
    sheet = image.to_pil()
    sheet.paste(brush, (left, top), brush)
    return Image.from_pil(sheet.convert("RGB"))


# ---- tools: (picture, problem, change) -> picture; pixels elsewhere stay as they are

_KINDS = {
    "wall": maze.WALL, "floor": maze.FLOOR, "grey": maze.GREY, "trail": maze.TRAIL, "agent": maze.AGENT, "goal": maze.GOAL,
}  # fmt: skip


def _pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3).copy()


def _image(pixels: np.ndarray) -> Image:
    return Image(pixels.shape[1], pixels.shape[0], pixels.tobytes())


def _choice(value: str | None, options: Any) -> str:
    if value not in options:
        raise BadInput(f"There is no {str(value)[:40]!r} to choose. Use one of: {', '.join(options)}.")
    return value


def _cell(change: Change, name: str, problem: Any) -> tuple[int, int]:
    cell = maze.cell_at(change.get(name, ""))
    if cell is None or max(cell) >= looks.LOOKS[problem.task].size(problem):
        raise BadInput(f"There is no place {change.get(name, '')[:40]!r} on this picture.")
    return cell


def _paint_cell(image: Image, problem: Any, change: Change) -> Image:
    (row, column), kind = _cell(change, "at", problem), _KINDS[_choice(change.get("to"), _KINDS)]
    left, top, right, _ = looks.window(problem, image)
    px, pixels = (right - left) // problem.board.n, _pixels(image)
    y, x = top + row * px, left + column * px
    pixels[y : y + px, x : x + px] = maze.TILES(px)[kind]
    return _image(pixels)


def _slot(pixels: np.ndarray, slot: scene.Slot) -> np.ndarray:
    """The pixels of one place of a scene, to look at and to write to."""
    px, (row, column) = scene.SLOT_PX, slot
    return pixels[row * px : (row + 1) * px, column * px : (column + 1) * px]


def _thing(image: Image, slot: scene.Slot) -> scene.Thing:
    thing = scene.read(image).scene.at(slot)
    if thing is None:
        raise BadInput(f"There is no shape at {maze.cell_name(slot)}. Choose a place with one.")
    return thing


def _erase_thing(image: Image, problem: Any, change: Change) -> Image:
    pixels = _pixels(image)
    _slot(pixels, _cell(change, "at", problem))[:] = scene.GROUND
    return _image(pixels)


def _recolour(image: Image, problem: Any, change: Change) -> Image:
    slot, colour = _cell(change, "at", problem), _choice(change.get("to"), scene.COLOURS)
    thing, pixels = _thing(image, slot), _pixels(image)
    _slot(pixels, slot)[:] = scene.tile(thing.shape, colour, thing.size)
    return _image(pixels)


def _move_thing(image: Image, problem: Any, change: Change) -> Image:
    """The two places change what they hold."""
    one, other = _cell(change, "at", problem), _cell(change, "to", problem)
    pixels, before = _pixels(image), _pixels(image)
    _slot(pixels, one)[:], _slot(pixels, other)[:] = _slot(before, other), _slot(before, one)
    return _image(pixels)


def _point(change: Change, name: str) -> figure.Point:
    point = figure.point_at(change.get(name, ""))
    if point is None:
        raise BadInput(f"There is no point {change.get(name, '')[:40]!r} on this picture. Its points are a1 to g7.")
    return point


def _redrawn(image: Image, problem: Any, point: figure.Point, end: Callable[[figure.Point], figure.Point | None]) -> Image:
    """The sheet with the lines that end at a point, or else the mark there, moved to where ``end`` says; gone where it says None."""
    old = geometry_reader.read(image, getattr(problem, "figure", None)).sheet
    if old is None:
        raise BadInput("This picture cannot be read any more. Undo the last change, or use the brush.")
    if point not in old.marks and not any(point in line for line in old.lines):
        raise BadInput(f"No drawn line ends at {figure.point_name(point)}, and no mark is there. Choose the end of an orange line.")
    lined = any(point in line for line in old.lines)
    marks = old.marks if lined else {moved for mark in old.marks if (moved := end(mark)) is not None}
    ends = [(end(p), end(q)) for p, q in old.lines]
    lines = {figure.segment(p, q) for p, q in ends if p is not None and q is not None and p != q}
    new = replace(old, marks=frozenset(marks), lines=frozenset(lines))
    was, now, pixels = geometry_pictures.render_pixels(old), geometry_pictures.render_pixels(new), _pixels(image)
    differs = (was != now).any(-1)
    pixels[differs] = now[differs]
    return _image(pixels)


def _move_end(image: Image, problem: Any, change: Change) -> Image:
    point, to = _point(change, "at"), _point(change, "to")
    return _redrawn(image, problem, point, lambda end: to if end == point else end)


def _erase_line(image: Image, problem: Any, change: Change) -> Image:
    point = _point(change, "at")
    return _redrawn(image, problem, point, lambda end: None if end == point else end)


Tool = Callable[[Image, Any, Change], Image]

TOOLS: dict[str, dict[str, Tool]] = {
    "maze": {"paint": _paint_cell},
    "geometry": {"move": _move_end, "erase": _erase_line},
    "compose": {"recolour": _recolour, "erase": _erase_thing, "move": _move_thing},
}
"""Task -> its tools by name."""
