"""What BAGEL looks at while it answers or draws: some of its own passes run once more, for ``unimm.analysis``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from unimm.analysis.attention import Attention
from unimm.analysis.spans import Span
from unimm.analysis.watch import fused_maps
from unimm.bagel.context import Context
from unimm.bagel.generate import SYSTEM, BagelModel
from unimm.bagel.mot import Batch, MotLanguageModel, Query, Rows
from unimm.bagel.options import BagelOptions, from_options
from unimm.bagel.reader import Said, Shown
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import PartDone
from unimm.model import Options, Want

STATES = 4
"""How many steps of the sampler are looked at, spread evenly."""


@dataclass(frozen=True)
class Spans:
    """Where a context's words, marks and pictures stand."""

    text: tuple[Span, ...]
    marks: tuple[Span, ...]
    picture: tuple[Span, ...]


def attention_maps(model: BagelModel, document: Document, want: Want, options: Options = Options()) -> Attention:
    """Answer or draw, then look again (see ``unimm.analysis.attention.Attends``).

    Answer rows hold the answer's tokens, in one causal pass. Picture rows are latent tokens, averaged over ``STATES`` steps
    of the sampler, of the branch that sees the whole context. Pictures are latents and patches both. Maps are of the new
    rows only. Raises ``BadInput`` where nothing is written or drawn.
    """
    pictures = any(isinstance(part, Image) for turn in document.turns for part in turn.parts)
    row = from_options(options, pictures)
    return (_answered if want == "text" else _drawn)(model, document, row)


def _answered(model: BagelModel, document: Document, row: BagelOptions) -> Attention:
    texts = [event.part.text for event in model.stream(document, "text", row) if isinstance(event, PartDone)]
    ids = model._own(texts[-1]).ids[:-1]  # the mark that opens and the answer, without the one that closes
    if len(ids) < 2:
        raise BadInput("The model answered nothing, so there are no rows to measure. Ask something else.")
    context, spans = _read(model, document, row.reason and "text", None)

    def visit(each: Callable[[Tensor], None]) -> None:
        layers = [layer.self_attn for layer in model.bagel.language_model.model.layers]
        with torch.inference_mode(), fused_maps(layers, lambda attention: each(_by_head(model, attention, len(ids)))):
            model.bagel.read_words(context, ids)

    return Attention("text", visit, spans.text, spans.picture, ((1, len(ids)),), spans.marks, note="rows hold answer tokens")


def _drawn(model: BagelModel, document: Document, row: BagelOptions) -> Attention:
    wanted = {round(number * (row.timesteps - 2) / (STATES - 1)) for number in range(STATES)}
    passes: list[tuple[Rows, Query]] = []
    counted = 0

    def listen(rows: Rows, batch: Batch) -> None:
        nonlocal counted
        if counted in wanted:
            query = batch.queries[0]
            passes.append(({"und": rows["und"][query.und], "gen": rows["gen"][query.gen]}, query))
        counted += 1

    with _overheard(model.bagel.language_model, listen):
        for event in model.stream(document, "image", replace(row, step_cache=False)):
            if isinstance(event, PartDone) and isinstance(event.part, Text):
                document = document.assistant(event.part)
    context, spans = _read(model, document, row.think and "image", row.seed)
    if not passes or passes[0][1].workspace.length != context.length:
        raise BadInput("The passes of this picture cannot be found again. Ask for it with other options.")
    count = len(passes[0][0]["gen"])
    queries = [replace(query, und=slice(2 * i, 2 * i + 2), gen=slice(i * count, (i + 1) * count)) for i, (_, query) in enumerate(passes)]
    rows = {expert: torch.cat([fed[expert] for fed, _ in passes]) for expert in ("und", "gen")}

    def visit(each: Callable[[Tensor], None]) -> None:
        layer: list[Tensor] = []

        def gather(attention: Tensor) -> None:
            layer.append(_by_head(model, attention, count + 2))
            if len(layer) == len(passes):
                each(torch.stack(layer).mean(0))
                layer.clear()

        modules = [layer.self_attn for layer in model.bagel.language_model.model.layers]
        with torch.inference_mode(), fused_maps(modules, gather):
            model.bagel.language_model(rows, queries)

    note = f"rows are latent tokens over {len(passes)} of {counted} steps; words hold the thought too"
    return Attention("image", visit, spans.text, spans.picture, ((1, count + 1),), spans.marks, note=note)


def _read(model: BagelModel, document: Document, system: str | bool, seed: int | None) -> tuple[Context, Spans]:
    """The main context after a document, and where everything stands in it.

    ``system`` names the text to think after, ``seed`` the noise of pictures that are also read as latents.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    parts = [(turn.role, part) for turn in document.turns for part in turn.parts]
    thought = [model._own(parts.pop()[1].text)] if seed is not None and _is_thought(parts) else []
    begin = [Said(tuple(model.words.encode(SYSTEM[system])))] if system else []
    context, text, marks, picture = Context(), [], [], []
    for segment in [*begin, *model._segments(parts, generator), *thought]:
        before = len(context.pieces)
        context = model.reader.see(context, segment) if isinstance(segment, Shown) else model.reader.say(context, segment)
        at = sum(piece.length for piece in context.pieces[:before])
        for piece in context.pieces[before:]:
            stop = at + piece.length
            if isinstance(segment, Shown):
                picture.append((at + 1, stop - 1))
            else:
                text.append((at, stop))
                marks += [(at, at + 1), (stop - 1, stop)]
            at = stop
    return context, Spans(tuple(text), tuple(marks), tuple(picture))


def _is_thought(parts: list[tuple[str, Any]]) -> bool:
    return bool(parts) and parts[-1][0] == "assistant" and isinstance(parts[-1][1], Text)


def _by_head(model: BagelModel, attention: Tensor, rows: int) -> Tensor:
    """A kernel's map as [heads, rows, columns]: heads that share keys may come as more rows of one."""
    heads = model.bagel.language_model.size.num_attention_heads
    return rearrange(attention[0], "k (g m) n -> (k g) m n", m=rows) if attention.shape[1] != heads else attention[0]


@contextmanager
def _overheard(decoder: MotLanguageModel, put: Callable[[Rows, Batch], None]) -> Iterator[None]:
    """Give every pass of the sampler: the only ones that come as a batch made before."""

    def listen(module: Any, inputs: tuple[Any, ...]) -> None:
        if isinstance(inputs[1], Batch):
            put(inputs[0], inputs[1])

    hook = decoder.register_forward_pre_hook(listen)
    try:
        yield
    finally:
        hook.remove()
