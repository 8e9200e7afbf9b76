"""Emu3 as a ``UnifiedModel``: Chat reads and writes, Gen draws, event by event."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import torch

from unimm.document import Document, Image, Text
from unimm.emu3.codec import Codec, to_image
from unimm.emu3.config import PUBLISHED
from unimm.emu3.draw import Canvas
from unimm.emu3.grammar import Grid, drawn_grid, header, picture_ids
from unimm.emu3.language import Language, Rows
from unimm.emu3.options import Emu3Options, from_options
from unimm.emu3.pair import Pair
from unimm.emu3.prompts import LONGEST, asking_for_thought, conversation, drawing_words, size_of
from unimm.emu3.tokenizer import Words
from unimm.emu3.write import words_only, write
from unimm.errors import BadInput
from unimm.events import ImagePreview, ModelEvent, PartDone, TextDelta
from unimm.model import Capabilities, Options, Want
from unimm.remembered import Remembered

CODED = 64
"""How many pictures' codes are remembered."""


class Emu3Model:
    """Chat and Gen as one model. Stateless towards its callers, one thread at a time (``unimm.worker`` gives it to many).

    Emu3 was not trained to edit: a further picture is drawn anew from all the user's words and the closing critique. Where
    Chat is there, a thought in words comes before a picture; without it, think has no effect. ``area`` is what Gen draws,
    in pixels; ``memory_gb`` what the weights take by precision.
    """

    name = "emu3"
    options_type = Emu3Options

    def __init__(self, pair: Pair, codec: Codec, words: Words, area: int, memory_gb: dict[str, float]) -> None:
        self.pair, self.codec, self.words, self.area, self.memory_gb = pair, codec, words, area, memory_gb
        self._codes: Remembered[list[list[int]]] = Remembered(CODED, self._encoded)

    @property
    def capabilities(self) -> Capabilities:
        weights = ", ".join(PUBLISHED[side]["repository"] for side in self.pair.sides)
        return Capabilities(
            understand="chat" in self.pair.sides, generate="gen" in self.pair.sides, edit=False, interleave=False, latents=False,
            image_sizes=(round(self.area**0.5),), licence="Apache-2.0", weights=weights, memory_gb=dict(self.memory_gb),
        )  # fmt: skip

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        """See ``UnifiedModel.stream``. Raises ``BadInput`` for a document that leaves nothing to do, or is too long."""
        options = from_options(options)
        self.check(document, want)
        generator = torch.Generator().manual_seed(options.seed)
        if want == "text":
            yield from self._write(document, options, generator)
            return
        thought = yield from self.think(document, options, generator)
        yield from self._draw(drawing_words(document, thought), options, generator)

    def check(self, document: Document, want: Want) -> None:
        """Raise ``BadInput`` for what cannot be answered or drawn from."""
        parts = [part for turn in document.turns for part in turn.parts]
        if not any(isinstance(part, Image) or part.text.strip() for part in parts):
            raise BadInput("The document is empty. Put a picture or some words into it.")
        if size_of(document) > LONGEST:
            raise BadInput(f"The text is too long. Keep all of it under {LONGEST:,} characters.")
        if want == "text" and document.turns[-1].role != "user":
            raise BadInput("The document ends with the assistant's turn. Add a question to it.")
        side, able = ("chat", "write an answer") if want == "text" else ("gen", "draw")
        if side not in self.pair.sides:
            raise BadInput(f"These Emu3 weights cannot {able}. Load {PUBLISHED[side]['repository']} beside them.")

    # --- words

    def think(self, document: Document, options: Emu3Options, generator: torch.Generator) -> Generator[ModelEvent, None, str]:
        """Where a thought is due and Chat is there, write what to draw; returns it."""
        if not options.think or document.turns[-1].role != "user" or "chat" not in self.pair.sides:
            return ""
        return (yield from self._write(asking_for_thought(document), options, generator))

    def _write(self, document: Document, options: Emu3Options, generator: torch.Generator) -> Generator[ModelEvent, None, str]:
        """One text after the document; returns it. Its confidence is the probability of its first token among words."""
        started = time.perf_counter()
        chunks = self.chunks(conversation(document, options.pictures), self.pair.get("chat"))
        ids: list[int] = []
        said, confidence, passes = "", 1.0, 0
        for token, chance, count in self.answer(chunks, options, generator):
            confidence, passes = (confidence if ids else chance), count
            ids.append(token)
            text = self.words.decode(ids)
            if not text.endswith("\ufffd") and len(text) > len(said):
                yield TextDelta(text[len(said) :])
                said = text
        stats = {"seconds": time.perf_counter() - started, "tokens": len(ids), "passes": passes, "confidence": confidence}
        yield PartDone(Text(said), stats)
        return said

    def answer(self, chunks: Sequence[Sequence[int]], options: Emu3Options, generator: torch.Generator) -> Iterator[tuple[int, float, int]]:
        """Words after chunks of ids up to their end: id, probability and passes so far of each. Raises ``BadInput`` if too long."""
        language = self.pair.get("chat")
        room = min(options.max_tokens, language.config.positions - sum(map(len, chunks)))
        if room < 1:
            raise BadInput("The document is too long for this model. Leave out pictures or words.")
        with torch.inference_mode():
            rows = Rows(language, [language.read(chunks)], room)
        sampling = replace(options, temperature=options.text_temperature)
        may = words_only(language.ids, language.config.text.vocab_size)
        for number, (token, chance) in enumerate(write(rows, may, sampling, generator), 1):
            if token == language.ids.eos:
                return
            yield token, chance, rows.passes
            if number == room:
                return

    def chunks(self, pieces: Sequence[str | Image], language: Language) -> list[list[int]]:
        """Ids of a conversation, cut where pictures begin and end: there the tokenizer cuts too, and prefixes are remembered."""
        chunks = [
            picture_ids(self._coded(piece), language.ids, self.words.encode) if isinstance(piece, Image) else self.words.encode(piece)
            for piece in pieces
        ]
        return [[language.ids.bos, *chunks[0]], *chunks[1:]]

    def _coded(self, image: Image) -> list[list[int]]:
        """A picture's codes, row by row."""
        return self._codes(image)

    def _encoded(self, image: Image) -> list[list[int]]:
        with torch.inference_mode():
            return self.codec.encode(self.codec.prepare(image))[0].tolist()

    # --- pictures

    def _draw(self, words: str, options: Emu3Options, generator: torch.Generator) -> Iterator[ModelEvent]:
        started, language, grid = time.perf_counter(), self.pair.get("gen"), self.grid(options)
        prompts = self.prompt_rows(language, words, grid, options)
        with torch.inference_mode():
            canvas = Canvas(Rows(language, [language.read([row]) for row in prompts], grid.length), grid)
        shown = preview_rows(grid.rows, options.previews)
        for done in canvas.fill(options, options.guidance, generator):
            if done % grid.columns == 0 and canvas.finished_rows in shown:
                yield ImagePreview(self._picture(canvas, canvas.finished_rows), done, grid.cells)
        image = self._picture(canvas, grid.rows)
        yield ImagePreview(image, grid.cells, grid.cells)
        yield PartDone(image, {"seconds": time.perf_counter() - started, "tokens": grid.cells, "passes": canvas.rows.passes})

    def grid(self, options: Emu3Options) -> Grid:
        """How many codes a picture of these options has."""
        return drawn_grid(options.ratio, options.area or self.area, self.codec.factor)

    def prompt_rows(self, language: Language, words: str, grid: Grid, options: Emu3Options) -> list[list[int]]:
        """Ids of the prompt and, for guidance, of the negative prompt: both end with the picture's size.

        Raises ``BadInput`` where there are no words, or too many for the picture.
        """
        if not words:
            raise BadInput("There are no words to draw from. Say what the picture should show.")
        texts = [words + options.positive] + ([options.negative] if options.guidance != 1 else [])
        opening = header(grid, language.ids, self.words.encode)
        rows = [[language.ids.bos, *self.words.encode(text), *opening] for text in texts]
        if max(map(len, rows)) + grid.length > language.config.positions:
            raise BadInput("The words and the picture together are too long for this model. Say it shorter, or draw a smaller area.")
        return rows

    @torch.inference_mode()
    def _picture(self, canvas: Canvas, rows: int) -> Image:
        """What the upper ``rows`` of codes show, the rest grey."""
        return to_image(self.codec.decode(canvas.picture(rows))[0], canvas.grid.rows * self.codec.factor)


def preview_rows(rows: int, previews: int) -> set[int]:
    """After which finished rows a preview is shown: evenly, never after the last."""
    return {round(rows * number / (previews + 1)) for number in range(1, previews + 1)} - {0, rows}
