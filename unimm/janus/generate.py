"""Janus-Pro as a ``UnifiedModel``: looks, answers, thinks in words and draws, event by event."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import JanusForConditionalGeneration

from unimm.document import Document, Image, Text, Turn
from unimm.errors import BadInput, MissingWeights
from unimm.events import ImagePreview, ModelEvent, PartDone, TextDelta
from unimm.janus import checkpoint
from unimm.janus.canvas import Canvas, for_words, write
from unimm.janus.config import CONTEXT, LICENCE, PUBLISHED, THINK, JanusOptions, from_options
from unimm.janus.decoder import Decoder
from unimm.janus.pixels import check_picture, codec_pixels, to_image, vision_pixels
from unimm.janus.prefix import Reader
from unimm.janus.processor import Chunk, check_document, drawing_ids, drawing_prompt, guidance_rows, text_chunks
from unimm.janus.tokenizer import Words, load_words
from unimm.model import Capabilities, Options, Want
from unimm.remembered import Remembered


class JanusModel:
    """A Janus-Pro. It understands and draws; it cannot edit.

    ``want="text"`` answers the conversation, pictures of either side included. ``want="image"`` draws from words alone: those
    of the user's last turn and the thought (or critique) after it. So a redraw follows the critique in words, and keeps
    nothing of the picture that was criticised. With ``think``, the thought is an answer to the whole conversation with the
    request to say what the picture should show. A text's ``confidence`` is the probability of its first token.

    Stateless towards its callers; inside, it remembers the latest prefixes by content. One thread at a time.
    """

    options_type = JanusOptions

    def __init__(
        self, net: JanusForConditionalGeneration, words: Words, min_side: int = 14, name: str = "janus-pro", remembered: int = CONTEXT,
    ) -> None:  # fmt: skip
        self.decoder, self.words, self.min_side, self.name = Decoder(net), words, min_side, name
        self.context = min(CONTEXT, net.config.text_config.max_position_embeddings)
        self._seen: Remembered[Tensor] = Remembered(32, self._looked_at)
        self.reader = Reader(self.decoder, self._see, remembered)

    @property
    def capabilities(self) -> Capabilities:
        count = sum(weight.numel() for weight in self.decoder.net.parameters())
        source = next((row.original for name, row in PUBLISHED.items() if name == self.name), "a folder of your own")
        return Capabilities(
            understand=True, generate=True, edit=False, interleave=True, latents=False, image_sizes=(self.decoder.side,), licence=LICENCE,
            weights=source, memory_gb={"fp32": round(4e-9 * count, 2), "bf16": round(2e-9 * count, 2)},
        )  # fmt: skip

    @classmethod
    def load(
        cls, path: str | Path, device: str | None = None, dtype: torch.dtype | None = None, quantize: str | None = None,
        tokenizer: Words | None = None,
    ) -> JanusModel:  # fmt: skip
        """See ``unimm.janus.load``."""
        folder = checkpoint.home(Path(path))
        found = checkpoint.read(folder)
        words = tokenizer or load_words(folder, checkpoint.toy_notes(folder))
        if max(vars(words.special).values()) >= found.config.text_config.vocab_size:
            raise MissingWeights(f"The tokenizer in {folder} knows more words than the model. Take the one that belongs to it.")
        found.config.image_token_id = words.special.image
        net = checkpoint.build(found, device, dtype, quantize)
        return cls(net, words, found.min_side, name_of(found.config.text_config.hidden_size))

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        """See ``UnifiedModel.stream``. Raises ``BadInput`` for a document that leaves nothing to answer or draw, or is too long."""
        options = from_options(options)
        check_document(document)
        generator = torch.Generator().manual_seed(options.seed)
        answers = document.turns[-1].role == "user"
        if want == "text":
            if not answers:
                raise BadInput("The document ends with the assistant's turn. Add a question to it.")
            yield from self.answer(document, options, generator)
            return
        if want != "image":
            raise BadInput(f"This model gives 'text' or 'image', not {want!r}.")
        if not drawing_prompt(document):
            raise BadInput("There are no words to draw from. Say what the picture should show.")
        self.prompt_rows(document, options)
        if answers and options.think:
            document = yield from self.think(document, options, generator)
        yield from self._draw(document, options, generator)

    def prompt_match(self, prompt: str, picture: Image) -> float:
        """How much likelier a prompt makes a picture: mean nats a code over the empty prompt (fact sheet, section 3)."""
        check_picture(picture)
        rows = torch.tensor(guidance_rows(drawing_ids(prompt, self.words), self.words.special))
        with torch.inference_mode():
            ids = self.decoder.encode(codec_pixels(picture.to_pil(), self.decoder.side)[None])
            chances = self.decoder.forced(rows, ids).log_softmax(-1)
            with_prompt, without = chances.gather(-1, ids.expand(2, -1)[..., None]).mean((1, 2)).tolist()
        return with_prompt - without

    def _see(self, image: Image) -> Tensor:
        """Embeddings [1, patches, width] of a picture, the latest ones remembered."""
        return self._seen(image)

    def _looked_at(self, image: Image) -> Tensor:
        return self.decoder.see(vision_pixels(image.to_pil(), self.decoder.side, self.min_side)[None])

    def _room(self, length: int, wanted: int) -> int:
        """How many of the wanted positions the context has left; raises ``BadInput`` where it has none."""
        if length >= self.context:
            raise BadInput(f"The conversation takes {length:,} of this model's {self.context:,} tokens. Leave out pictures or words.")
        return min(wanted, self.context - length)

    def think(self, document: Document, options: JanusOptions, generator: torch.Generator) -> Generator[ModelEvent, None, Document]:
        """Say what the picture should show, with the whole conversation in view; returns the document with the thought."""
        last = document.turns[-1]
        asked = Document((*document.turns[:-1], Turn(last.role, (*last.parts, Text(THINK)))))
        return document.assistant((yield from self.answer(asked, options, generator)))

    def answer(self, document: Document, options: JanusOptions, generator: torch.Generator) -> Generator[ModelEvent, None, Text]:
        """Answer a conversation; returns the text."""
        started = time.perf_counter()
        chunks = text_chunks(document, self.words)
        length = sum(len(chunk.rows[0]) + (self.decoder.patches if chunk.image else 0) for chunk in chunks)
        limit = self._room(length, options.max_tokens)
        with torch.inference_mode():
            state = self.reader.read(chunks)
        ids: list[int] = []
        said, confidence = "", 1.0
        for newest, logits in write(self.decoder, state, for_words(options), generator, limit):
            token = int(newest)
            if not ids:
                confidence = float(logits[0].softmax(-1)[token])
            if token == self.words.special.eos:
                break
            ids.append(token)
            text = self.words.decode(ids).lstrip()
            if not text.endswith("\ufffd") and len(text) > len(said):
                yield TextDelta(text[len(said) :])
                said = text
        stats = {"seconds": time.perf_counter() - started, "tokens": len(ids), "passes": max(len(ids), 1), "confidence": confidence}
        yield PartDone(Text(said), stats)
        return Text(said)

    def prompt_rows(self, document: Document, options: JanusOptions) -> tuple[tuple[int, ...], ...]:
        """The prompt's ids, and the empty prompt's where guidance is on; raises ``BadInput`` where a picture finds no room."""
        ids = drawing_ids(drawing_prompt(document), self.words)
        if len(ids) + self.decoder.cells > self.context:
            raise BadInput(f"The words take {len(ids):,} tokens; with a picture the model holds {self.context:,}. Say it in fewer words.")
        return guidance_rows(ids, self.words.special) if options.guidance > 1 else (tuple(ids),)

    def _draw(self, document: Document, options: JanusOptions, generator: torch.Generator) -> Iterator[ModelEvent]:
        """Draw a picture from a document's words."""
        started, decoder = time.perf_counter(), self.decoder
        with torch.inference_mode():
            state = self.reader.read([Chunk(self.prompt_rows(document, options))])
        canvas = Canvas(decoder, state, options.static_cache)
        every = options.preview_rows * decoder.grid
        for done in canvas.fill(options, generator):
            if every and done % every == 0 and done < canvas.cells:
                yield ImagePreview(self._picture(canvas.ids[:done]), done, canvas.cells)
        image = self._picture(canvas.ids)
        yield ImagePreview(image, canvas.cells, canvas.cells)
        stats = {"seconds": time.perf_counter() - started, "tokens": canvas.cells, "passes": canvas.passes + 1, "changed": canvas.cells}
        yield PartDone(image, stats)

    def _picture(self, ids: Tensor) -> Image:
        with torch.inference_mode():
            return to_image(self.decoder.decode(ids[None]))


def name_of(width: int) -> str:
    """Which release has a decoder of this width."""
    return {2048: "janus-pro-1b", 4096: "janus-pro-7b"}.get(width, "janus-pro")
