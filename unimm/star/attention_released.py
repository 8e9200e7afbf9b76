"""The attention of a STAR in the released layout: Qwen's chat when it answers, one row of words and codes when it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unimm.analysis.attention import Attention
from unimm.analysis.spans import runs
from unimm.analysis.watch import maps_of
from unimm.document import Document
from unimm.errors import BadInput
from unimm.model import Options, Want
from unimm.star import processor
from unimm.star.big import ReleasedStarModel
from unimm.star.chat import check_document, order_of, pictures_of
from unimm.star.line_canvas import LineCanvas
from unimm.star.model import Star
from unimm.star.options import StarOptions
from unimm.star.reading import Reading, say
from unimm.star.released import base_states, stack_states

Each = Callable[[Tensor], None]


def attention_maps(model: ReleasedStarModel, document: Document, want: Want, options: Options = Options()) -> Attention:
    """Answer or draw, then read it all once more (see ``unimm.analysis.attention.Attends``).

    Answer rows hold the answer's words, through the base; picture rows hold drawn codes (the last is never fed), through
    base and stack, after a thought that stays in its row. The thought counts among the words, the mark that opens the
    drawing does not. Of two guidance rows the one with the words is looked at. Raises ``BadInput`` where nothing is written.
    """
    check_document(document)
    row = replace(StarOptions.from_options(options), reasoning="latent", decoder="vq")
    return (_answered if want == "text" else _drawn)(model, document, row)


def _answered(model: ReleasedStarModel, document: Document, options: StarOptions) -> Attention:
    if not document.turns or document.turns[-1].role != "user":
        raise BadInput("The document ends with the assistant's turn. Add a question to it.")
    reading, ids = model._read_chat(document, options.max_tokens)
    stops = frozenset((model.special.im_end, model.special.endoftext, model.special.vision_start))
    sampling, generator = replace(options, temperature=options.text_temperature), torch.Generator().manual_seed(options.seed)
    said = [word.id for word in say(reading, options.max_tokens, sampling, generator, stops, options.repetition_penalty, ids)]
    if not said:
        raise BadInput("The model answered nothing, so there are no rows to measure. Ask something else.")
    pictures = [model._seen(image) for image in pictures_of(document)]

    def visit(each: Each) -> None:
        with maps_of(_layers(model.star, False), lambda attention: each(attention[0])):
            Reading.chat(model.star, [*ids, *said], pictures, model.special, model.sizes.merge)

    row = torch.tensor(ids)
    seen = row == model.special.image_pad
    return Attention(
        "text", visit, runs(~seen), runs(seen), ((len(ids), len(ids) + len(said)),), runs(_marks(model, row) & ~seen),
        (("base", len(_layers(model.star, False))),), "rows hold answer words",
    )  # fmt: skip


def _drawn(model: ReleasedStarModel, document: Document, options: StarOptions) -> Attention:
    order, generator, heard = order_of(document), torch.Generator().manual_seed(options.seed), []
    with _overheard(model.star.base.model.language_model, heard.append):
        for _ in (steps := _Result(model._thought_through(order, options, generator))):
            pass
    rows, _ = steps.value
    prompt, length = rows[0], rows[0].length
    canvas = LineCanvas(rows, model.cells, None if order.source is None else model._ids(order.source))
    for _ in canvas.fill(options, generator):
        pass
    with torch.inference_mode():  # the row with the words is read first, so its inputs are the first that were heard
        fed = torch.cat(heard, 1)[:, :length]
        embeds = torch.cat([fed, model.star.drawn(canvas.ids[None, :-1].to(fed.device)).to(fed.dtype)], 1)
    positions = torch.cat([prompt.positions, prompt.places(length, model.cells - 1)], 1)

    def visit(each: Each) -> None:
        with torch.inference_mode(), maps_of(_layers(model.star, True), lambda attention: each(attention[0])):
            stack_states(model.star, base_states(model.star, embeds, positions), positions)

    row, picture = _prompt(model, order, length)
    text = ~picture
    text[-1] = False
    base, stack = len(_layers(model.star, False)), model.config.stack_layers
    return Attention(
        "image", visit, runs(text), runs(picture), ((length, length + model.cells - 1),), runs(_marks(model, row) & text),
        (("base", base), ("stack", stack)), "rows hold drawn codes but the last; words hold the thought too",
    )  # fmt: skip


def _prompt(model: ReleasedStarModel, order: Any, length: int) -> tuple[Tensor, Tensor]:
    """Ids [length] of the row up to the mark that opens the drawing, and which of them are the source's tokens.

    A thought's words stand as -1: that they are words is all that matters here.
    """
    row = torch.tensor([model.chat.template.drawing_row(model.words.encode(order.words))])
    picture = torch.zeros(length, dtype=torch.bool)
    ids = row[:, :-1]
    if order.source is not None:
        codes, seen = model._ids(order.source), model._seen(order.source)
        placed = processor.insert_source(ids, len(model.chat.template.head), len(codes), len(seen.tokens), model.special)
        ids = placed.ids
        picture[placed.vq] = picture[placed.vit] = True
    thought = torch.full((1, length - ids.shape[1] - 1), -1)
    return torch.cat([ids, thought, row[:, -1:]], 1)[0], picture


def _marks(model: ReleasedStarModel, row: Tensor) -> Tensor:
    special = model.special
    return torch.isin(row, torch.tensor([getattr(special, name) for name in special.__dataclass_fields__]))


def _layers(star: Star, draws: bool) -> list[nn.Module]:
    decoders: Sequence[Any] = (star.base.model.language_model, star.stack)[: 2 if draws else 1]
    return [layer.self_attn for decoder in decoders for layer in decoder.layers]


@contextmanager
def _overheard(decoder: nn.Module, put: Callable[[Tensor], None]) -> Iterator[None]:
    """Give the first row of what a decoder is fed, pass after pass."""
    hook = decoder.register_forward_pre_hook(lambda module, inputs, named: put(named["inputs_embeds"][:1]), with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@dataclass
class _Result:
    """Runs a generator and keeps what it returns."""

    steps: Any
    value: Any = None

    def __iter__(self) -> Iterator[Any]:
        self.value = yield from self.steps
