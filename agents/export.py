"""A run as a picture strip and as an animation."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from agents.trace import Round, Trace
from unimm.document import Image

PAPER, INK, FAINT, RIGHT, DOUBT, WRONG = "#ffffff", "#111827", "#6b7280", "#15803d", "#b45309", "#b91c1c"
GAP, BAR, LINE = 12, 60, 17

Wear = Callable[[Image], Image | None]
"""A run's picture -> how it is shown instead; None where it is shown as it is."""


@dataclass(frozen=True)
class _Panel:
    picture: PILImage.Image
    title: str
    lines: tuple[str, ...]
    colour: str


def strip(trace: Trace, columns: int = 6, leaf: int | None = None, wear: Wear | None = None) -> PILImage.Image:
    """All pictures of a run in rows, redraws included: green frame where kept, brown where
    kept in doubt, red where not, with thought and verdicts."""
    panels = list(_panels(trace, leaf, wear))
    width, height = (max(getattr(panel.picture, side) for panel in panels) for side in ("width", "height"))
    columns = max(1, min(columns, len(panels)))
    rows = -(-len(panels) // columns)
    sheet = PILImage.new("RGB", (GAP + columns * (width + GAP), GAP + rows * (height + BAR + GAP)), PAPER)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        sheet.paste(_drawn(panel, width, height), (GAP + column * (width + GAP), GAP + row * (height + BAR + GAP)))
    return sheet


def gif(trace: Trace, seconds: float = 0.7, leaf: int | None = None, wear: Wear | None = None) -> bytes:
    """The run as an endless animated GIF, one frame a picture; the last one stays longer."""
    panels = list(_panels(trace, leaf, wear))
    width, height = (max(getattr(panel.picture, side) for panel in panels) for side in ("width", "height"))
    frames = [_drawn(panel, width, height).quantize(64) for panel in panels]
    durations = [int(1000 * seconds)] * len(frames)
    durations[-1] = int(4000 * seconds)
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, disposal=1)
    return buffer.getvalue()


def _panels(trace: Trace, leaf: int | None, wear: Wear | None) -> Iterator[_Panel]:
    def shown(image: Image) -> PILImage.Image:
        return ((wear(image) if wear else None) or image).to_pil()

    yield _Panel(shown(trace.start), "start", (f"{trace.task}, {trace.model}",), FAINT)
    rounds = [item for item in trace.rounds(leaf) if item.image is not None]
    for item in rounds:
        yield _panel(item, shown(item.image), trace.answer if item is rounds[-1] else "")


def _panel(item: Round, picture: PILImage.Image, answer: str) -> _Panel:
    title = f"{item.frame}" + (f", redraw {item.number}" if item.number else "")
    verdicts = tuple(f"{verdict.by}: {verdict.words}" for verdict in item.critiques)
    thought = (item.thought,) if item.picture.kind == "draw" else ()
    colour = WRONG if item.kept is None else RIGHT if item.kept == "satisfied" else DOUBT
    return _Panel(picture, title, tuple(textwrap.wrap(answer, 38)) or (*thought, *verdicts), colour)


def _drawn(panel: _Panel, width: int, height: int) -> PILImage.Image:
    sheet = PILImage.new("RGB", (width, height + BAR), PAPER)
    sheet.paste(panel.picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((0, 0, panel.picture.width - 1, panel.picture.height - 1), outline=panel.colour, width=3)
    title, text = ImageFont.load_default(13), ImageFont.load_default(11)
    pen.text((2, height + 3), panel.title, panel.colour, title)
    indent = 8 + pen.textlength(panel.title, title)
    for number, line in enumerate(panel.lines[:3]):
        left = indent if number == 0 else 2
        pen.text((left, height + 4 + number * LINE), _fitted(pen, line, text, width - left), INK, text)
    return sheet


def _fitted(pen: ImageDraw.ImageDraw, line: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float) -> str:
    """The line, cut with an ellipsis where it is wider than the room in pixels."""
    line = line.encode("ascii", "replace").decode().replace("\n", " ")
    if pen.textlength(line, font) <= room:
        return line
    while line and pen.textlength(line + "...", font) > room:
        line = line[:-1]
    return line + "..."
