"""STAR as a ``UnifiedModel``: writes, thinks in place, draws and edits, event by event."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from unimm.document import Document, Image, Text
from unimm.errors import BadInput, MissingWeights
from unimm.events import ImagePreview, LatentStep, ModelEvent, PartDone, TextDelta
from unimm.model import Capabilities, Options, Want
from unimm.remembered import Remembered
from unimm.sampling import sample
from unimm.star.canvas import Canvas
from unimm.star.config import StarConfig
from unimm.star.inspector import SEES
from unimm.star.model import Star
from unimm.star.options import TinyOptions
from unimm.star.pictures import fitted, from_tokens, to_canvas
from unimm.star.prefix import Chunk, Prefix, Reader, chunks_of, next_key, shortened
from unimm.star.recital import Recital
from unimm.star.sharpen import Sharpener, load_sharpener, sharpened
from unimm.star.speculate import accept_run
from unimm.star.tokenizer import SPECIAL, load_tokenizer
from unimm.weights import load_sharded, load_strict

EMBEDDED = Path(__file__).parent.parent.parent / "assets" / "star-tiny"
NEAREST = 5
"""How many nearest words a latent is shown with."""
REMEMBERED_WORDS = 400
"""How many words written last, the latest text first, the next text is guessed from: a thought and a verdict or two."""


class StarModel:
    """A STAR whose turns are in the plain template and whose thought comes before the source's tokens.

    Stateless towards its callers; inside, it remembers the latest prefixes, pictures and words. One thread at a time
    (``unimm.worker`` gives it to many).
    """

    options_type = TinyOptions

    def __init__(self, star: Star, tokenizer: Tokenizer, sharpener: Sharpener | None = None) -> None:
        self.star, self.config, self.tokenizer = star.settle(), star.config, tokenizer
        self.sharpener = sharpener
        self.name = star.config.name
        self.special = {token: tokenizer.token_to_id(token) for token in SPECIAL}
        self._seen = Remembered(64, lambda image: self.star.see(to_canvas(image, self.config)))
        self._ids = Remembered(64, lambda image: self.star.pixel_encoder.encode(to_canvas(image, self.config))[0])
        self.reader = Reader(star, self._see, self.special)
        self._written: list[int] = []

    @property
    def capabilities(self) -> Capabilities:
        side = self.config.picture * self.config.scale
        return Capabilities(
            understand=True, generate=True, edit=True, interleave=True, latents=True, image_sizes=(side,),
            licence="Apache-2.0", weights="assets/star-tiny", memory_gb=dict(self.config.memory_gb),
            taught=tuple(self.config.taught), plain=False, calibration=dict(self.config.calibration),
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path | None = None, device: str | None = None) -> StarModel:
        """Read a model folder (``config.json``, ``tokenizer.json``, weight shards); raises ``MissingWeights``."""
        folder = Path(path) if path is not None else EMBEDDED
        try:
            config = StarConfig.from_dict(json.loads((folder / "config.json").read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MissingWeights(f"{folder.name} holds no readable config.json of a STAR model. Check the folder, or train one.") from error
        star = Star(config)
        load_strict(star, {name: value.float() for name, value in load_sharded(folder).items()}, folder.name)
        sharpener = load_sharpener(folder, config)
        return cls(star.to(device or "cpu"), load_tokenizer(folder / "tokenizer.json"), sharpener and sharpener.to(device or "cpu"))

    def _see(self, image: Image) -> tuple[Tensor, int]:
        image = fitted(image, self.config)
        return self._seen(image), self._columns(image)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        """See ``UnifiedModel.stream``. Raises ``BadInput`` for a document that leaves nothing to answer, or is too long."""
        if not document.turns:
            raise BadInput("The document is empty. Put a picture or some words into it.")
        chunks = chunks_of(document, self.encode, self.special)
        if sum(len(chunk.ids) for chunk in chunks) > 1200:
            raise BadInput("The text is too long for this model. Keep it under 1,000 words.")
        generator = torch.Generator().manual_seed(options.seed)
        answers = document.turns[-1].role == "user"
        if want == "text" and not answers:
            raise BadInput("The document ends with the assistant's turn. Add a question to it.")
        with torch.inference_mode():
            prefix = self.reader.read(chunks)
        if want == "text":
            yield from self._write(prefix, options, generator, latents=False)
            return
        if answers and options.think:
            prefix, draws = yield from self._write(prefix, options, generator, latents=True)
            if not draws:
                return
        yield from self._draw(document, prefix, options, generator)

    def _write(self, prefix: Prefix, options: Options, generator: torch.Generator, latents: bool) -> Iterator[ModelEvent]:
        """Write one text after a prefix. Returns the prefix with the text in place, and whether it opens a picture."""
        started, begun, said, draws = time.perf_counter(), prefix, "", False
        sampling = replace(options, temperature=options.text_temperature)
        recital = Recital(() if latents or sampling.temperature > 0 else self._written)
        ids: list[int] = []
        chances: list[float] = []
        while len(ids) < options.max_tokens:
            with torch.inference_mode():
                logits = self._word_logits(prefix.hidden[:, -1])
                token = int(sample(logits, sampling, generator))
                chances.append(float(logits[0].softmax(-1)[token]))
            if token in self.special.values():
                draws = token == self.special["<|vision_start|>"]
                break
            recital.follow(token)
            with torch.inference_mode():
                if latents:
                    prefix, out = self.reader.step(prefix, [token], output_attentions=True)
                    further = []
                else:
                    prefix, further = self._recited(prefix, token, recital, options.max_tokens - len(ids) - 1)
            for word in (token, *(further_token for further_token, _ in further)):
                ids.append(word)
                text = self.tokenizer.decode(ids)
                if not text.endswith("\ufffd"):
                    yield TextDelta(text[len(said) :])
                    said = text
            chances += (chance for _, chance in further)
            if latents:
                yield self._latent(len(ids) - 1, token, prefix, out)
        else:
            draws = True
        prefix = replace(prefix, key=next_key(begun.key, Chunk(f"say:{said!r}")))
        if not recital.earlier:  # else it was not read word by word, as it would be read anew
            self.reader.remember(prefix)
        self._written = [*ids, *self._written][:REMEMBERED_WORDS]
        stats = {"tokens": len(ids), "confidence": chances[0], "chances": chances[: len(ids)]}
        if begun.images and not latents and self.config.fault_head:
            stats["doubts"] = self._doubts(begun)
            if self.config.inspector and len({self._columns(image) for image in begun.images[-2:]}) == 1 < len(begun.images):
                stats["damage"], stats["damage_kinds"] = self._damage(begun.images[-2:])
        yield PartDone(Text(said), {"seconds": time.perf_counter() - started, **stats})
        return prefix, draws

    def _doubts(self, prefix: Prefix) -> tuple[float, ...]:
        """How likely each cell of the last picture is to be wrong, row by row."""
        places, _ = self._last_picture(prefix)
        with torch.inference_mode():
            return tuple(round(chance, 4) for chance in self.star.doubts(prefix.hidden[0, places]).tolist())

    def _damage(self, images: Sequence[Image]) -> tuple[tuple[float, ...], tuple[str, ...]]:
        """How likely each cell of the second of two pictures is wrong, and what is new in it or it then is (of SEES), row by row."""
        with torch.inference_mode():
            shown = (to_canvas(fitted(image, self.config), self.config) for image in images)
            chances, kinds = self.star.damage(*shown)
            return tuple(round(chance, 4) for chance in chances[0].tolist()), tuple(SEES[kind] for kind in kinds[0].tolist())

    def _columns(self, image: Image) -> int:
        """How many tokens of a picture stand in a row."""
        return fitted(image, self.config).width // (self.config.vq.factor * self.config.scale)

    def _word_logits(self, hidden: Tensor) -> Tensor:
        return self.star.word_logits(hidden)[..., : self.tokenizer.get_vocab_size()]

    def _recited(self, prefix: Prefix, token: int, recital: Recital, room: int) -> tuple[Prefix, list[tuple[int, float]]]:
        """Read a word and the guessed ones behind it in one pass; those that the model would write too stand, each with its chance."""
        guess = recital.guess(room)
        longer, _ = self.reader.step(prefix, [token, *guess])
        if not guess:
            return longer, []
        logits = self._word_logits(longer.hidden[0, -len(guess) - 1 : -1])
        stood, _ = accept_run(logits, torch.tensor(guess), Options(temperature=0.0))
        recital.learn(stood, len(guess))
        for word in guess[:stood]:
            recital.follow(word)
        chances = logits.softmax(-1)
        return shortened(longer, len(guess) - stood), [(word, float(chances[at, word])) for at, word in enumerate(guess[:stood])]

    def _latent(self, index: int, token: int, prefix: Prefix, out: Any) -> LatentStep:
        """What one hidden state of the thought says: its nearest words, its norm, and where on the last picture it looked."""
        hidden = prefix.hidden[0, -1, : self.star.hidden]
        chances = self.star.word_logits(hidden)[: self.tokenizer.get_vocab_size()].softmax(-1).topk(NEAREST)
        words = tuple((self.tokenizer.decode([int(word)], skip_special_tokens=False), float(p)) for p, word in zip(*chances, strict=True))
        heat, grid = (), (0, 0)
        if prefix.images:
            places, columns = self._last_picture(prefix)
            grid = (columns, columns)
            attention = torch.stack(out.attentions[-3:]).mean((0, 1, 2))[-1]
            heat = tuple(round(value, 4) for value in attention[places].tolist())
        return LatentStep(index, self.tokenizer.decode([token]), words, float(hidden.norm()), heat, grid)

    def _last_picture(self, prefix: Prefix) -> tuple[slice, int]:
        """Where the tokens of the last picture stand (the last run of so many positions that share a time), and how many in a row."""
        columns, time_axis = self._columns(prefix.images[-1]), prefix.position[0, 0]
        cells = columns * columns
        begins = int((time_axis[cells - 1 :] == time_axis[: len(time_axis) - cells + 1]).nonzero()[-1])
        return slice(begins, begins + cells), columns

    def _draw(self, document: Document, prefix: Prefix, options: Options, generator: torch.Generator) -> Iterator[ModelEvent]:
        """Draw a picture after a prefix; the document's last picture is the source where there is one."""
        started = time.perf_counter()
        source = fitted(prefix.images[-1], self.config) if prefix.images else None
        columns = self._columns(source) if source else self.config.grid
        with torch.inference_mode():
            source_ids = self._ids(source) if source else None
            opened, _ = self.reader.step(prefix, [self.special["<|vision_start|>"]])
            rows = [opened] if options.guidance == 1 else [opened, self._without_words(document, prefix)]
            canvas = Canvas(self.star, rows, columns, source_ids, self.special["<|vision_end|>"])
        vq = self.star.pixel_encoder
        steps = TinyOptions.from_options(options).refine if self.sharpener else 0
        for done in canvas.fill(options, generator):
            if done < canvas.cells:
                with torch.inference_mode():
                    preview = from_tokens(canvas.preview(), vq, self.config, columns, source, source_ids)
                yield ImagePreview(preview, done, canvas.cells + steps)
        with torch.inference_mode():
            image = from_tokens(canvas.ids, vq, self.config, columns, source, source_ids)
        changed = canvas.cells if source_ids is None else int((canvas.ids != source_ids).sum())
        steps = steps if changed else 0
        yield ImagePreview(image, canvas.cells, canvas.cells + steps)
        if steps:
            pictures = sharpened(self.sharpener, vq, self.config, canvas.ids, columns, source, source_ids, steps, options.seed)
            for done, image in enumerate(pictures, 1):
                yield ImagePreview(image, canvas.cells + done, canvas.cells + steps)
        stats = {"seconds": time.perf_counter() - started, "tokens": canvas.cells, "passes": canvas.passes, "changed": changed}
        if self.sharpener:
            stats["refined"] = steps
        yield PartDone(image, stats)

    def _without_words(self, document: Document, prefix: Prefix) -> Prefix:
        """The unconditional row of guidance: the same pictures, every word padded out, the opening mark kept."""
        bare = Prefix()
        chunks = chunks_of(document, self.encode, self.special)
        for number, chunk in enumerate(chunks):
            pad = [self.special["<|fim_pad|>"]] * len(chunk.ids)
            words = list(chunk.ids) if chunk.image is not None else [*chunk.ids[: number == 0], *pad[number == 0 :]]
            bare, _ = self.reader.step(bare, words, chunk.image)
        missing = prefix.length - bare.length
        if missing:
            bare, _ = self.reader.step(bare, [self.special["<|fim_pad|>"]] * missing)
        return self.reader.step(bare, [self.special["<|vision_start|>"]])[0]
