"""STAR's attention: what the base and the stacked layers look at while they answer or draw.

For a model in the released layout see ``unimm.star.attention_released``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unimm.analysis.attention import Attention
from unimm.analysis.spans import runs
from unimm.analysis.watch import maps_of
from unimm.document import Document, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, PartDone
from unimm.model import Options, Want, write
from unimm.star import attention_released
from unimm.star.backbone import causal_mask
from unimm.star.big import ReleasedStarModel
from unimm.star.canvas import Canvas
from unimm.star.generate import StarModel
from unimm.star.layout import DRAWN, SEEN, SOURCE, Layout
from unimm.star.model import Star
from unimm.star.pictures import fitted
from unimm.star.prefix import chunks_of

WORD, MARK, ANSWER, PICTURE, OPENING, CODE = range(6)
"""What a position is to the measurement: a word of the prompt, a mark around its turns and pictures, a word of the answer,
a token of the prompt's pictures, what opens the drawing, an input that holds a drawn code."""
ROLES = {SEEN: PICTURE, SOURCE: PICTURE, DRAWN: CODE}


@dataclass(frozen=True)
class Piece:
    """A stretch of the sequence: base inputs [1, L, hidden], rope positions [3, 1, L] and roles [L]."""

    embeds: Tensor
    position: Tensor
    role: Tensor


@dataclass(frozen=True)
class Forced:
    """A document with its answer or drawing behind it, read in one pass."""

    star: Star
    pieces: tuple[Piece, ...]

    def where(self, *roles: int) -> Tensor:
        """Mask [S] of the positions of some roles."""
        return torch.isin(torch.cat([piece.role for piece in self.pieces]), torch.tensor(roles))

    @torch.inference_mode()
    def run(self, draws: bool, each: Callable[[Tensor], None] = lambda attention: None) -> Tensor:
        """Last hidden states [1, S, hidden] of the base, or of the stack if it ``draws``; ``each`` gets every map [H, S, S]."""
        embeds, position = torch.cat([piece.embeds for piece in self.pieces], 1), torch.cat([piece.position for piece in self.pieces], 2)
        decoders = (self.star.base.model.language_model, self.star.stack)[: 2 if draws else 1]
        mask = causal_mask(embeds.shape[1], dtype=embeds.dtype)
        mask = None if mask is None else mask.to(embeds.device)
        with maps_of([layer.self_attn for decoder in decoders for layer in decoder.layers], lambda attention: each(attention[0])):
            hidden = self.star.understand(embeds, position, mask)
            return self.star.draw(hidden, position, mask) if draws else hidden


class Writer:
    """Lays a sequence out piece by piece, as ``Reader`` and ``Canvas`` read it."""

    def __init__(self, model: StarModel) -> None:
        self.model, self.star, self.time = model, model.star, 0
        self.pieces: list[Piece] = []

    def document(self, document: Document) -> None:
        """Everything in the order of ``chunks_of``."""
        open_, close = (self.model.special[f"<|vision_{name}|>"] for name in ("start", "end"))
        for chunk in chunks_of(document, self.model.encode, self.model.special):
            if chunk.image is None:
                self.words(chunk.ids)
                continue
            seen, columns = self.model._see(chunk.image)
            self.words([*chunk.ids, open_])
            layout = self._layout(columns)
            layout.picture(SEEN, 0, seen.shape[1])
            self._put(layout, seen=seen)
            self.words([close])

    def words(self, ids: Sequence[int], role: int = WORD) -> None:
        """Text tokens; marks are told apart by their ids."""
        layout = self._layout(self.star.config.grid)
        layout.text(ids)
        self._put(layout, [MARK if token in self.model.special.values() and role == WORD else role for token in ids])

    def canvas(self, source: Tensor | None, drawn: Tensor, columns: int) -> None:
        """The source's codes [cells] where there are some, and the inputs that drew ``drawn`` [cells]."""
        cells = len(drawn)
        self.words([self.model.special["<|vision_start|>"]], OPENING)
        layout = self._layout(columns)
        if source is not None:
            layout.picture(SOURCE, cells, cells)
        layout.canvas(self.model.special["<|vision_end|>"], 0, cells)
        codes = drawn if source is None else torch.cat([drawn, source])
        self._put(layout, [ROLES.get(kind, OPENING) for kind in layout.kind], codes=codes[None])

    def _layout(self, columns: int) -> Layout:
        return Layout(columns, self.star.config.grid_stride, time=self.time)

    def _put(self, layout: Layout, roles: Sequence[int] | None = None, seen: Tensor | None = None, codes: Tensor | None = None) -> None:
        device = next(self.star.parameters()).device
        arrays = {name: torch.from_numpy(values).to(device) for name, values in layout.arrays().items() if name != "segment"}
        position = arrays.pop("position").T[:, None]
        embeds = self.star.embed(**{name: row[None] for name, row in arrays.items()}, columns=layout.columns, seen=seen, codes=codes)
        role = torch.tensor([ROLES[kind] for kind in layout.kind] if roles is None else roles)
        self.pieces.append(Piece(embeds, position, role))
        self.time = layout.time


def attention_maps(model: StarModel | ReleasedStarModel, document: Document, want: Want, options: Options = Options()) -> Attention:
    """Answer or draw, then read it all once more (see ``Attends``).

    Answer rows hold the words of the answer, through the base. Picture rows hold drawn codes (the last is never fed),
    through base and stack. The thought that a picture is drawn after counts among its words; the marks that open the
    drawing do not. Where guidance runs two rows, the one with the words is looked at. Raises ``BadInput`` where nothing is
    written or drawn.
    """
    if not isinstance(model, StarModel):
        return attention_released.attention_maps(model, document, want, options)
    forced = answered(model, document, options) if want == "text" else drawn(model, document, options)

    def visit(each: Callable[[Tensor], None]) -> None:
        forced.run(want == "image", each)

    depths = ("base", model.config.base["text_config"]["num_hidden_layers"]), ("stack", model.config.stack_layers)
    return Attention(
        want,
        visit,
        text=runs(forced.where(WORD, MARK)),
        marks=runs(forced.where(MARK)),
        picture=runs(forced.where(PICTURE)),
        output=runs(forced.where(ANSWER, CODE)),
        parts=depths[:1] if want == "text" else depths,
        note="rows hold answer words" if want == "text" else "rows hold drawn codes but the last; words hold the thought too",
    )


@torch.inference_mode()
def answered(model: StarModel, document: Document, options: Options) -> Forced:
    """The document and the model's own answer to it."""
    ids = model.encode(write(model, document, options))
    if not ids:
        raise BadInput("The model answered nothing, so there are no rows to measure. Ask something else.")
    writer = Writer(model)
    writer.document(document)
    writer.words(ids, ANSWER)
    return Forced(model.star, tuple(writer.pieces))


def drawn(model: StarModel, document: Document, options: Options) -> Forced:
    """The document with the model's thought, if it thinks, and the picture it draws, with the very codes it drew."""
    document = _thought(model, document, options)
    codes, source, columns = _codes(model, document, options)
    writer = Writer(model)
    with torch.inference_mode():
        writer.document(document)
        writer.canvas(source, codes, columns)
    return Forced(model.star, tuple(writer.pieces))


def _thought(model: StarModel, document: Document, options: Options) -> Document:
    """The document with the thought that the model draws after."""
    for event in model.stream(document, "image", options):
        if isinstance(event, PartDone) and isinstance(event.part, Text):
            document = document.assistant(event.part)
        if isinstance(event, ImagePreview | PartDone) and not isinstance(getattr(event, "part", None), Text):
            return document
    raise BadInput("The model thinks that nothing is left to draw here, so there are no rows to measure. Ask for another picture.")


def _codes(model: StarModel, document: Document, options: Options) -> tuple[Tensor, Tensor | None, int]:
    """The codes [cells] of the picture that the model draws next, its source's, and its columns."""
    config = model.config
    with torch.inference_mode():
        prefix = model.reader.read(chunks_of(document, model.encode, model.special))
        source = fitted(prefix.images[-1], config) if prefix.images else None
        columns = source.width // (config.vq.factor * config.scale) if source else config.grid
        opened, _ = model.reader.step(prefix, [model.special["<|vision_start|>"]])
        rows = [opened] if options.guidance == 1 else [opened, model._without_words(document, prefix)]
        source_ids = model._ids(source) if source else None
        canvas = Canvas(model.star, rows, columns, source_ids, model.special["<|vision_end|>"])
    for _ in canvas.fill(options, torch.Generator().manual_seed(options.seed)):
        pass
    return canvas.ids, source_ids, columns
