"""What Emu3's tokens look at: one more pass over a prompt and what came after it, with attention maps (``unimm.analysis``).

Queries are positions that hold a written or drawn token and are read; the last one never is. For an answer the keys reach
from begin-of-image up to, not including, end-of-image; for a picture they are the whole prompt with its header.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from unimm.analysis import Attention, Span
from unimm.analysis.watch import fused_maps
from unimm.document import Document, Image
from unimm.emu3.draw import Canvas, token_ids
from unimm.emu3.generate import Emu3Model
from unimm.emu3.language import Language, Rows
from unimm.emu3.options import Emu3Options, from_options
from unimm.emu3.prompts import conversation, drawing_words
from unimm.errors import BadInput
from unimm.model import Options, Want

Each = Callable[[Tensor], None]


@torch.inference_mode()
def watched(language: Language, ids: Sequence[int], each: Each) -> None:
    """Run one sequence of ids; ``each`` gets the map [1, heads, S, S] of one layer after the other."""
    with fused_maps([layer.self_attn for layer in language.net.model.layers], each):
        language.states(torch.tensor([list(ids)]))


def look(language: Language, ids: Sequence[int]) -> list[Tensor]:
    """All maps of a pass, kept: heads * S**2 numbers a layer."""
    maps: list[Tensor] = []
    watched(language, ids, maps.append)
    return maps


def attention_maps(model: Emu3Model, document: Document, want: Want, options: Options = Options()) -> Attention:
    """Answer or draw after a document, and show the attention of a pass over all of it.

    Of a picture only the row with the prompt is shown. Raises ``BadInput`` as ``stream`` does, and for an answer of no more
    than one token.
    """
    model.check(document, want)
    return (_drawing if want == "image" else _answer)(model, document, from_options(options))


def _drawing(model: Emu3Model, document: Document, options: Emu3Options) -> Attention:
    generator = torch.Generator().manual_seed(options.seed)
    thought = _result(model.think(document, options, generator))
    language, grid = model.pair.get("gen"), model.grid(options)
    rows = model.prompt_rows(language, drawing_words(document, thought), grid, options)
    with torch.inference_mode():
        canvas = Canvas(Rows(language, [language.read([row]) for row in rows], grid.length), grid)
    for _ in canvas.fill(options, options.guidance, generator):
        pass
    prompt, drawn = rows[0], token_ids(canvas.codes, grid, canvas.rows)[: grid.rows * (grid.columns + 1) - 2]
    n, opening = len(prompt), prompt.index(language.ids.boi)
    note = "queries: all codes and row ends that are read; keys: the whole prompt, its header included"
    return Attention("image", _visit(language, [*prompt, *drawn]), ((0, n),), (), ((n, n + len(drawn)),), ((0, 1), (opening, n)), note=note)


def _answer(model: Emu3Model, document: Document, options: Emu3Options) -> Attention:
    language = model.pair.get("chat")
    pieces = conversation(document, options.pictures)
    chunks = model.chunks(pieces, language)
    said = [token for token, _, _ in model.answer(chunks, options, torch.Generator().manual_seed(options.seed))]
    if len(said) < 2:
        raise BadInput("The answer is a single token, so there is no row to measure. Ask something that takes more words.")
    pictures: list[Span] = []
    texts: list[Span] = []
    at = 0
    for piece, chunk in zip(pieces, chunks, strict=True):
        if isinstance(piece, Image):
            pictures.append((at, at + len(chunk) - 1))
            texts.append((at + len(chunk) - 1, at + len(chunk)))
        else:
            texts.append((at, at + len(chunk)))
        at += len(chunk)
    ids = [token for chunk in chunks for token in chunk] + said[:-1]
    ends = [(stop, stop + 1) for _, stop in pictures]
    note = "queries: all words of the answer but the last; keys: pictures from begin-of-image up to end-of-image"
    return Attention("text", _visit(language, ids), tuple(texts), tuple(pictures), ((at, len(ids)),), ((0, 1), *ends), note=note)


def _result(events: Generator[Any, None, str]) -> str:
    """What a generator returns in the end."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def _visit(language: Language, ids: Sequence[int]) -> Callable[[Each], None]:
    return lambda each: watched(language, ids, lambda attention: each(attention[0]))
