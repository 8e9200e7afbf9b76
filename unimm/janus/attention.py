"""Where Janus-Pro's two modalities look at each other: one more pass over a prompt and its answer, with attention maps.

Decoding curves take the whole prompt (or begin-of-image and its patches) as keys, the training term shifts both by one
(fact sheet: aia, 2.1). Queries are positions that hold an output token and are read; the last code never is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unimm.analysis import Attention, Span, Spans, per_step, runs
from unimm.analysis.intensity import interaction
from unimm.analysis.spans import released_drawing, released_picture
from unimm.analysis.watch import fused_maps
from unimm.document import Document
from unimm.errors import BadInput
from unimm.janus.canvas import Canvas, for_words, write
from unimm.janus.config import JanusOptions, from_options
from unimm.janus.decoder import Decoder, positions_of
from unimm.janus.generate import JanusModel
from unimm.janus.processor import Chunk, check_document, text_chunks
from unimm.model import Options, Want

Each = Callable[[Tensor], None]


@dataclass(frozen=True)
class Looked:
    """One pass: ``maps`` [rows, heads, n, n] by layer, ``hidden`` [rows, n, width], spans of queries and keys by row."""

    maps: tuple[Tensor, ...]
    hidden: Tensor
    queries: tuple[Spans, ...]
    keys: tuple[Spans, ...]

    def curve(self) -> Tensor:
        """Interaction of every layer and row [layers, rows]."""
        return interaction(self.maps, self.queries, self.keys)

    def steps(self) -> Tensor:
        """Interaction of every query of the first row by itself [queries, layers]."""
        stack = torch.stack([attention[0] for attention in self.maps])
        return per_step((stack[:, :, at] for start, stop in self.queries[0] for at in range(start, stop)), self.keys[0][0])


def watched(decoder: Decoder, embeds: Tensor, each: Each, mask: Tensor | None = None) -> Tensor:
    """Hidden states [rows, n, width] of one pass over ``embeds``; ``each`` gets the map [rows, heads, n, n] of every layer.

    ``mask`` [rows, n] is 0 on padding. Gradients are kept where the caller records them.
    """
    positions = None if mask is None else positions_of(mask).to(embeds.device)
    seen = None if mask is None else mask.to(embeds.device)
    with fused_maps([layer.self_attn for layer in decoder.text.layers], each):
        return decoder.text(inputs_embeds=embeds, attention_mask=seen, position_ids=positions, use_cache=False).last_hidden_state


def look(decoder: Decoder, embeds: Tensor, queries: Sequence[Spans], keys: Sequence[Spans], mask: Tensor | None = None) -> Looked:
    """One pass with all its maps kept."""
    maps: list[Tensor] = []
    hidden = watched(decoder, embeds, maps.append, mask)
    return Looked(tuple(maps), hidden, tuple(queries), tuple(keys))


def look_drawing(decoder: Decoder, prompt: Tensor, codes: Tensor) -> Looked:
    """As while drawing: a prompt [1, n] and a picture's codes [1, cells]; the conditional branch, keys the whole prompt."""
    n, embeds = prompt.shape[1], _drawn(decoder, prompt, codes[:, :-1])
    return look(decoder, embeds, [((n, embeds.shape[1]),)], [((0, n),)])


def look_answering(decoder: Decoder, prompt: Tensor, seen: Tensor, answer: Tensor, begin: int, image: int) -> Looked:
    """As while answering: a prompt [1, n] with a picture ``seen`` [1, patches, width], an answer [1, m].

    Keys are begin-of-image and all patches behind it.
    """
    n, start = prompt.shape[1], int((prompt[0] == begin).nonzero()[0])
    embeds = torch.cat([decoder.mixed(prompt, seen, image), decoder.words(answer[:, :-1])], 1)
    return look(decoder, embeds, [((n, embeds.shape[1]),)], [((start, start + 1 + seen.shape[1]),)])


def look_training_drawing(decoder: Decoder, prompts: Tensor, mask: Tensor, codes: Tensor) -> Looked:
    """As the training term reads drawings: left-padded prompts [rows, n] with their mask, codes [rows, cells]."""
    whole = F.pad(mask, (0, codes.shape[1]), value=1)
    return look(decoder, _drawn(decoder, prompts, codes), *released_drawing(whole, codes.shape[1]), whole)


def look_training_answers(decoder: Decoder, ids: Tensor, mask: Tensor, labels: Tensor, seen: Tensor, image: int) -> Looked:
    """As the training term reads answers: left-padded conversations [rows, n] with a picture each, labels -100 off the answers."""
    return look(decoder, decoder.mixed(ids, seen, image), [runs(row >= 0) for row in labels], released_picture(ids == image), mask)


def _drawn(decoder: Decoder, prompt: Tensor, codes: Tensor) -> Tensor:
    return torch.cat([decoder.words(prompt), decoder.codes(codes)], 1)


def attention_maps(model: JanusModel, document: Document, want: Want, options: Options = Options()) -> Attention:
    """Answer or draw after a document, and show the attention of a pass over all of it (see ``unimm.analysis``).

    A picture is drawn from the words alone, and only the row with the words is shown. Raises ``BadInput`` as ``stream`` does,
    and for an answer of no more than one token.
    """
    check_document(document)
    return (_drawing if want == "image" else _answer)(model, document, from_options(options))


def _drawing(model: JanusModel, document: Document, options: JanusOptions) -> Attention:
    generator = torch.Generator().manual_seed(options.seed)
    if options.think and document.turns[-1].role == "user":
        document = _result(model.think(document, options, generator))
    rows = model.prompt_rows(document, options)
    with torch.inference_mode():
        canvas = Canvas(model.decoder, model.reader.read([Chunk(rows)]), options.static_cache)
        for _ in canvas.fill(options, generator):
            pass
        embeds = _drawn(model.decoder, torch.tensor(rows[:1]), canvas.ids[None, :-1])
    n = len(rows[0])
    note = "queries: all codes but the last; keys: the whole prompt, begin-of-image included"
    return Attention("image", _visit(model, embeds), ((0, n),), (), ((n, embeds.shape[1]),), ((0, 1), (n - 1, n)), note=note)


def _answer(model: JanusModel, document: Document, options: JanusOptions) -> Attention:
    chunks = text_chunks(document, model.words)
    generator = torch.Generator().manual_seed(options.seed)
    with torch.inference_mode():
        state = model.reader.read(chunks)
    said: list[int] = []
    for newest, _ in write(model.decoder, state, for_words(options), generator, min(options.max_tokens, model.context - state.length)):
        said.append(int(newest))
        if said[-1] == model.words.special.eos:
            break
    if len(said) < 2:
        raise BadInput("The answer is a single token, so there is no row to measure. Ask something that takes more words.")
    with torch.inference_mode():
        embeds = torch.cat([model.reader.embeds(chunk) for chunk in chunks] + [model.decoder.words(torch.tensor([said[:-1]]))], 1)
    pictures, at = [], 0
    for chunk in chunks:
        at += len(chunk.rows[0])
        if chunk.image:
            pictures.append((at, at + model.decoder.patches))
            at += model.decoder.patches
    outside = torch.ones(at, dtype=torch.bool)
    for start, stop in pictures:
        outside[start:stop] = False
    edges: list[Span] = [(0, 1), *(span for start, stop in pictures for span in ((start - 1, start), (stop, stop + 1)))]
    note = "queries: all words of the answer but the last; keys: the patches of all pictures, begin and end marks not among them"
    return Attention("text", _visit(model, embeds), runs(outside), tuple(pictures), ((at, embeds.shape[1]),), tuple(edges), note=note)


def _result(events: Generator[object, None, Document]) -> Document:
    """What a generator returns in the end."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def _visit(model: JanusModel, embeds: Tensor) -> Callable[[Each], None]:
    def visit(each: Each) -> None:
        with torch.inference_mode():
            watched(model.decoder, embeds, lambda attention: each(attention[0]))

    return visit
