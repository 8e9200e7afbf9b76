"""STAR-3B and STAR-7B (and toys of their layout) as a ``UnifiedModel``: the released rows, passes and settings, event by event.

Understanding is Qwen's chat over the whole document. Drawing takes the user's last words and, when editing, the last
picture (fact sheet: star, sections 5 to 10). A thought is written by the base in the very row that is drawn from, so the
stack reads its hidden states; with ``reasoning="rewrite"`` its words replace the prompt instead, as in the release.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, LatentStep, ModelEvent, PartDone, TextDelta
from unimm.model import Capabilities, Options, Want
from unimm.remembered import Remembered
from unimm.star import processor, released
from unimm.star.chat import SUFFIX, Chat, Order, check_document, order_of, pictures_of, without_words
from unimm.star.decoder import DiffusionDecoder
from unimm.star.folder import Released, read_folder
from unimm.star.line_canvas import LineCanvas
from unimm.star.model import Star
from unimm.star.options import StarOptions
from unimm.star.processor import VisionSizes
from unimm.star.reading import Picture, Reading, say
from unimm.star.refining import Refiner
from unimm.star.vq import to_uint8
from unimm.star.words import Words

NEAREST = 5
GREY = 128
"""What an undrawn cell looks like in a preview."""
LONGEST_ROW = 8192
MIN_PIXELS, MAX_PIXELS = 28 * 28 * 16, 28 * 28 * 1024
"""Published limits of a picture that the base reads."""


class ReleasedStarModel:
    """A STAR in the released layout. Stateless towards its callers; it remembers only what pictures look like to it.

    One thread at a time (``unimm.worker`` gives it to many).
    """

    options_type = StarOptions

    def __init__(self, star: Star, folder: Released, refiner: Refiner | None = None) -> None:
        self.star, self.config, self.refiner = star, star.config, refiner
        self.name = self.config.name
        self.special, self.words, self.why_no_decoder = folder.special, folder.words, folder.why
        self.chat = Chat(folder.words, folder.special)
        self.limits = folder.run.get("min_pixels", MIN_PIXELS), folder.run.get("max_pixels", MAX_PIXELS)
        vision = star.base.config.vision_config
        self.sizes = VisionSizes(vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)
        self.longest = min(LONGEST_ROW, star.base.config.text_config.max_position_embeddings)
        self.cells = self.config.grid**2
        self._seen, self._ids = Remembered(32, self._see), Remembered(32, self._encode)

    @classmethod
    def load(
        cls, path: str | Path, device: str | None = None, dtype: torch.dtype | None = None, quantize: str | None = None,
        tokenizer: str | Path | Words | None = None, decoder: bool = True,
    ) -> ReleasedStarModel:  # fmt: skip
        """Read a released folder or weight file; see ``unimm.star.load``."""
        folder = read_folder(Path(path), tokenizer, decoder)
        place, kind = device or "cpu", dtype or (torch.bfloat16 if folder.config.bf16_rope else torch.float32)
        star = released.build(folder.config, folder.state, place, kind, quantize)
        refiner = None
        if folder.decoder_state:
            assert folder.captions is not None
            refiner = Refiner(DiffusionDecoder.load(folder.decoder, folder.decoder_state, place, kind, quantize), folder.captions)
        return cls(star, folder, refiner)

    @property
    def capabilities(self) -> Capabilities:
        sizes = [self.config.picture, *([self.refiner.decoder.config.resolution] if self.refiner else [])]
        return Capabilities(
            understand=True, generate=True, edit=True, interleave=True, latents=True, image_sizes=tuple(dict.fromkeys(sizes)),
            licence="Apache-2.0 (the 3B's base: Qwen research licence, non-commercial)", weights="MM-MVR/STAR-3B, MM-MVR/STAR-7B",
            memory_gb=dict(self.config.memory_gb),
        )  # fmt: skip

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        """See ``UnifiedModel.stream``. Raises ``BadInput`` for a document that leaves nothing to do, or is too long."""
        row = StarOptions.from_options(options)
        check_document(document)
        generator = torch.Generator().manual_seed(row.seed)
        try:
            if want == "text":
                yield from self._answer(document, row, generator)
            else:
                yield from self._picture(order_of(document), row, generator)
        except torch.OutOfMemoryError as error:
            raise BadInput("The device ran out of memory. Use a smaller picture, quantize='nf4', or the decoder 'vq'.") from error

    # Reading

    def _see(self, image: Image) -> Picture:
        """What the base sees of a picture, whatever its size."""
        picture = processor.at_least_min_side(image.to_pil())
        patches, grid = processor.vision_patches(picture, *self.limits, self.sizes)
        with torch.inference_mode():
            return Picture(released.see(self.star, patches.to(self.star.device), [grid]), grid)

    def _encode(self, image: Image) -> Tensor:
        """The VQ ids [cells] of a picture."""
        pixels = processor.vq_pixels(processor.at_least_min_side(image.to_pil()), self.config.picture)
        with torch.inference_mode():
            weight = self.star.pixel_encoder.quant_conv.weight
            return self.star.pixel_encoder.encode(pixels[None].to(weight.device, weight.dtype))[0].cpu()

    def _read_chat(self, document: Document, room: int) -> tuple[Reading, list[int]]:
        pictures = [self._seen(image) for image in pictures_of(document)]
        counts = {image.hash: len(seen.tokens) for image, seen in zip(pictures_of(document), pictures, strict=True)}
        ids = self.chat.row(document, lambda image: counts[image.hash])
        self._check_length(len(ids) + room)
        return Reading.chat(self.star, ids, pictures, self.special, self.sizes.merge), ids

    def _check_length(self, length: int) -> None:
        if length > self.longest:
            raise BadInput(f"This takes {length:,} tokens, and the model reads {self.longest:,}. Use fewer words, pictures or max_tokens.")

    # Writing

    def _answer(self, document: Document, options: StarOptions, generator: torch.Generator) -> Iterator[ModelEvent]:
        if document.turns[-1].role != "user":
            raise BadInput("The document ends with the assistant's turn. Add a question to it.")
        reading, ids = self._read_chat(document, options.max_tokens)
        yield from self._write(reading, options, generator, ids)

    def _write(
        self, reading: Reading, options: StarOptions, generator: torch.Generator, before: list[int], latents: bool = False
    ) -> Iterator[ModelEvent]:
        """Write one text into a reading; returns its ids."""
        started, said, confidence = time.perf_counter(), "", 1.0
        ids: list[int] = []
        stops = frozenset((self.special.im_end, self.special.endoftext, self.special.vision_start))
        sampling = replace(options, temperature=options.text_temperature)
        for word in say(reading, options.max_tokens, sampling, generator, stops, options.repetition_penalty, before):
            confidence = word.probability if not ids else confidence
            ids.append(word.id)
            text = self.words.decode(ids)
            if not text.endswith("\ufffd") and len(text) > len(said):
                yield TextDelta(text[len(said) :])
                said = text
            if latents:
                yield self._latent(len(ids) - 1, word.id, reading)
        yield PartDone(Text(said), {"seconds": time.perf_counter() - started, "tokens": len(ids), "confidence": confidence})
        return ids

    def _latent(self, index: int, token: int, reading: Reading) -> LatentStep:
        """What one hidden state of the thought says: its nearest words and its norm."""
        chances = reading.word_logits().softmax(-1).topk(NEAREST)
        words = tuple((self.words.decode([int(word)]), float(p)) for p, word in zip(*chances, strict=True))
        return LatentStep(index, self.words.decode([token]), words, float(reading.hidden[0, -1].float().norm()))

    # Drawing

    def _picture(self, order: Order, options: StarOptions, generator: torch.Generator) -> Iterator[ModelEvent]:
        if options.decoder == "diffusion" and self.refiner is None:
            raise BadInput(f"The diffusion decoder cannot be used: {self.why_no_decoder}. Choose the decoder 'vq'.")
        if options.reasoning == "rewrite":
            rows, caption = yield from self._rewritten(order, options, generator)
        else:
            rows, caption = yield from self._thought_through(order, options, generator)
        yield from self._draw(rows, caption, order.source, options, generator)

    def _thought_through(self, order: Order, options: StarOptions, generator: torch.Generator) -> Iterator[ModelEvent]:
        """Rows with the thought in place: what the base thinks is what the stack reads. Returns rows and the caption."""
        row = self.chat.template.drawing_row(self.words.encode(order.words))
        given = self.words.encode(order.thought) if order.thought else []
        thinks = order.thought is None and options.think
        seen, room = self._source(order), options.max_tokens if thinks else len(given)
        self._check_length(len(row) + room + self.cells + (self._block(seen) if seen else 0))
        reading = self._row(torch.tensor([row[:-1]]), seen)
        if thinks:
            given = yield from self._write(reading, options, generator, row, latents=True)
        else:
            reading.read(given)
        reading.read(row[-1:])
        return self._with_guidance(reading, row, len(given), seen, options), order.words or order.thought

    def _rewritten(self, order: Order, options: StarOptions, generator: torch.Generator) -> Iterator[ModelEvent]:
        """Rows in which the base's answer stands for the words, as the release reasons. Returns rows and the caption.

        The release does so for pictures drawn from nothing; when editing, the answer follows the instruction.
        """
        answer, text = (self.words.encode(order.thought), order.thought) if order.thought else ([], "")
        if order.thought is None and options.think:
            asked = Document().user(*([order.source] if order.source else []), Text(order.words))
            reading, ids = self._read_chat(asked, options.max_tokens)
            answer = yield from self._write(reading, replace(options, text_temperature=0.0), generator, ids)
            text = self.words.decode(answer)
        words, suffix, seen = self.words.encode(order.words), self.words.encode(SUFFIX), self._source(order)
        template = self.chat.template
        if seen:
            row, caption = template.drawing_row([*words, *self.words.encode("\n"), *answer] if answer else words), order.words or text
        else:
            row, caption = template.reasoning_row(answer, suffix, words), text + SUFFIX if answer else order.words
        self._check_length(len(row) + self.cells + (self._block(seen) if seen else 0))
        return self._with_guidance(self._row(torch.tensor([row]), seen), row, 0, seen, options), caption

    def _source(self, order: Order) -> tuple[Tensor, Picture] | None:
        return None if order.source is None else (self._ids(order.source), self._seen(order.source))

    @staticmethod
    def _block(seen: tuple[Tensor, Picture]) -> int:
        """How many places the source takes in a row: both kinds of tokens, their four marks and a newline."""
        return len(seen[0]) + len(seen[1].tokens) + 5

    def _row(self, ids: Tensor, seen: tuple[Tensor, Picture] | None) -> Reading:
        """The base's reading of one row [1, L], the source right behind the user's header."""
        if seen is None:
            return Reading.chat(self.star, ids[0].tolist(), (), self.special, self.sizes.merge)
        codes, picture = seen
        row = processor.insert_source(ids, len(self.chat.template.head), len(codes), len(picture.tokens), self.special)
        return Reading.edit(self.star, row, codes, picture, self.special, self.sizes.merge)

    def _with_guidance(
        self, reading: Reading, row: list[int], extra: int, seen: tuple[Tensor, Picture] | None, options: StarOptions
    ) -> list[Reading]:
        if options.guidance == 1:
            return [reading]
        return [reading, self._row(without_words(row, extra, self.special), seen)]

    def _draw(
        self, rows: list[Reading], caption: str, source: Image | None, options: StarOptions, generator: torch.Generator
    ) -> Iterator[ModelEvent]:
        started, shown, columns = time.perf_counter(), 0, self.config.grid
        draft = None if source is None else self._ids(source)
        canvas = LineCanvas(rows, self.cells, draft)
        for done in canvas.fill(options, generator):
            if done < self.cells and done // columns > shown // columns:
                shown = done
                yield ImagePreview(self._show(canvas.preview(), done if source is None else self.cells), done, self.cells)
        stats = {"tokens": self.cells, "passes": canvas.passes}
        stats["changed"] = self.cells if draft is None else int((canvas.ids != draft).sum())
        image = self._show(canvas.ids, self.cells)
        yield ImagePreview(image, self.cells, self.cells)
        if options.decoder == "diffusion" and self.refiner:
            with torch.inference_mode():
                codes = self.star.pixel_encoder.codes(canvas.ids[None].to(self.star.device))
            for preview in self.refiner.draw(caption, codes, source, options, generator):
                yield preview
                image, stats["steps"] = preview.image, preview.total
        yield PartDone(image, {"seconds": time.perf_counter() - started, **stats})

    def _show(self, ids: Tensor, done: int) -> Image:
        """The picture of VQ ids [cells]; cells that are not drawn yet are grey."""
        side = self.config.grid
        with torch.inference_mode():
            pixels = to_uint8(self.star.pixel_encoder.decode(ids[None].to(self.star.device), (side, side)))[0].cpu().numpy()
        factor = self.config.vq.factor
        for cell in range(done, self.cells):
            row, column = cell // side * factor, cell % side * factor
            pixels[row : row + factor, column : column + factor] = GREY
        return Image(pixels.shape[1], pixels.shape[0], pixels.tobytes())
