"""What MMaDA looks at while it fills masks: some of its own passes run once more, for ``unimm.analysis``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unimm.analysis.attention import Attention
from unimm.analysis.spans import Span, runs
from unimm.analysis.watch import fused_maps
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import PartDone
from unimm.mmada.backbone import Backbone
from unimm.mmada.model import MmadaModel
from unimm.mmada.options import MmadaOptions
from unimm.model import Options, Want

STATES = 4
"""How many steps of a text or a picture are looked at, spread evenly from the first to the last."""


@dataclass(frozen=True)
class Pass:
    """One pass of the backbone over a whole row: ids [1, L] with masks, and the bias of that row."""

    ids: Tensor
    bias: Tensor | None


def attention_maps(model: MmadaModel, document: Document, want: Want, options: Options = Options()) -> Attention:
    """Answer or draw, then look again at some steps of it (see ``unimm.analysis.attention.Attends``).

    The model is bidirectional and fills masks, so rows are the answer's columns or the picture's slots, masked or settled,
    averaged over ``STATES`` steps. Caches are off while it works: each pass reads the whole row. Of two guidance rows the
    one with the words is looked at. Raises ``BadInput`` where nothing is written.
    """
    settings = replace(MmadaOptions.from_options(options), text_cache="none", image_cache="none")
    passes: list[Pass] = []
    tokens = 0
    with _overheard(model.backbone, passes.append):
        for event in model.stream(document, want, settings):
            if isinstance(event, PartDone) and isinstance(event.part, Text) and want == "image":
                passes.clear()  # those of the thought
            elif isinstance(event, PartDone):
                tokens = int(event.stats["tokens"])
    blank = model.special.mask
    passes = [one for one in passes if bool((one.ids == blank).any())]
    passes = passes[-settings.image_steps :] if want == "image" else passes  # an edit looks around before its first step
    if not passes or not tokens:
        raise BadInput("The model wrote nothing, so there are no rows to measure. Ask something else.")
    chosen = [passes[round(number * (len(passes) - 1) / max(STATES - 1, 1))] for number in range(STATES)]
    row, length = passes[0].ids[0], passes[0].ids.shape[1]
    if want == "text":
        begin = int((row == blank).nonzero()[0])
        output: Span = (begin, begin + tokens)
    else:
        begin = length - model.backbone.config.slots - 2  # the mark that opens the slots
        output = (begin + 1, length - 1)
    asked, codes = row[:begin], _between(row[:begin], model.special.offset, model.backbone.config.codes)
    marks = torch.isin(asked, torch.tensor(_marks(model), device=asked.device))
    picture = codes & ~marks
    source = () if want == "text" or not _pictures(document) else (output,)
    text = ~picture & ~_pads(model, asked)
    return Attention(
        want, _visit(model.backbone, chosen), runs(text.cpu()), (*runs(picture.cpu()), *source), (output,), runs((marks & text).cpu()),
        note=f"rows are {'answer columns' if want == 'text' else 'picture slots'}, masked or settled, over {STATES} of {len(passes)} steps",
    )  # fmt: skip


def _pictures(document: Document) -> bool:
    return any(isinstance(part, Image) for turn in document.turns for part in turn.parts)


def _marks(model: MmadaModel) -> list[int]:
    """All special ids but codes and masks."""
    special = model.special
    names = [name for name in special.__dataclass_fields__ if name not in ("offset", "mask")]
    return [getattr(special, name) for name in names if isinstance(getattr(special, name), int)]


def _between(row: Tensor, first: int, count: int) -> Tensor:
    return (row >= first) & (row < first + count)


def _pads(model: MmadaModel, row: Tensor) -> Tensor:
    return row == model.special.ipad


@contextmanager
def _overheard(backbone: Backbone, put: Callable[[Pass], None]) -> Iterator[None]:
    """Give every pass over a whole row, its first row alone."""

    def listen(module: Any, inputs: tuple[Any, ...]) -> None:
        ids, bias = inputs[0], inputs[1] if len(inputs) > 1 else None
        put(Pass(ids[:1].clone(), None if bias is None else bias[:1]))

    hook = backbone.register_forward_pre_hook(listen)
    try:
        yield
    finally:
        hook.remove()


def _visit(backbone: Backbone, chosen: list[Pass]) -> Callable[[Callable[[Tensor], None]], None]:
    def visit(each: Callable[[Tensor], None]) -> None:
        bias = None if chosen[0].bias is None else torch.cat([one.bias for one in chosen])
        with torch.inference_mode(), fused_maps(list(backbone.model.transformer["blocks"]), lambda attention: each(attention.mean(0))):
            backbone(torch.cat([one.ids for one in chosen]), bias)

    return visit
