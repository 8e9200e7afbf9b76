"""BAGEL as a ``UnifiedModel``: answers, thinks in words, draws and edits, event by event."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from unimm.bagel.checkpoint import Checkpoint, load_checkpoint
from unimm.bagel.config import MEMORY_GB
from unimm.bagel.context import Context
from unimm.bagel.denoise import Denoiser
from unimm.bagel.flow import integrate
from unimm.bagel.model import latent_grid
from unimm.bagel.options import BagelOptions, from_options
from unimm.bagel.pictures import Grid, check_size, to_image, to_uint8, unfold
from unimm.bagel.reader import Reader, Reading, Said, Segment
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, ModelEvent, PartDone, TextDelta
from unimm.model import Capabilities, Options, Want
from unimm.sampling import sample

SYSTEM = {
    "text": (
        "You should first think about the reasoning process in the mind and then provide the user with the answer. \n"
        "The reasoning process is enclosed within <think> </think> tags, i.e. <think> reasoning process here </think> answer here"
    ),
    "image": (
        "You should first think about the planning process in the mind and then generate the image. \n"
        "The planning process is enclosed within <think> </think> tags, i.e. <think> planning process here </think> image here"
    ),
}
"""What the released model was trained to be told before it thinks, by what it shall make."""
LONGEST = 30_000
"""Characters of all texts together."""


class BagelModel:
    """BAGEL on one device. Stateless towards its callers; inside, it remembers the latest contexts. One thread at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config, self.words = checkpoint.config, checkpoint.words
        self.bagel, self.autoencoder = checkpoint.bagel, checkpoint.autoencoder
        self.reader = Reader(self.bagel, self.autoencoder, self.words.marks)
        self.name = self.config.name

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None
    ) -> BagelModel:
        """Read a folder in the published layout; raises ``MissingWeights`` that names the file."""
        return cls(load_checkpoint(path, device, dtype, quantize))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            understand=True, generate=True, edit=True, interleave=True, latents=False, image_sizes=(self.config.full_side,),
            licence="Apache-2.0", weights="ByteDance-Seed/BAGEL-7B-MoT", memory_gb=dict(MEMORY_GB.get(self.name, {})),
        )  # fmt: skip

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        """See ``UnifiedModel.stream``. There are no roles: texts and pictures are read in their order.

        The document's last picture gives the size and is the one to edit. A text's ``confidence`` is the probability of its
        first token over the whole vocabulary. An ``ImagePreview`` comes with every step; most repeat the picture decoded
        last. Raises ``BadInput``.
        """
        parts = [(turn.role, part) for turn in document.turns for part in turn.parts]
        _check(parts, document, want)
        row = from_options(options, any(isinstance(part, Image) for _, part in parts))
        generator = torch.Generator().manual_seed(row.seed)
        if want == "text":
            system = Said(tuple(self.words.encode(SYSTEM["text"]))) if row.reason else None
            yield from self._write(self.reader.read(self._segments(parts, None), system).main, row, generator)
            return
        system = Said(tuple(self.words.encode(SYSTEM["image"]))) if row.think else None
        given = parts.pop() if isinstance(parts[-1][1], Text) and parts[-1][0] == "assistant" else None
        reading = self.reader.read(self._segments(parts, generator), system)
        if given is not None:
            reading = self.reader.with_thought(reading, self._own(given[1].text))
        elif row.think:
            # The thought draws from a stream of its own: given again as a text, it leads to the same picture.
            thought = yield from self._write(reading.main, row, torch.Generator().manual_seed(row.seed))
            reading = self.reader.with_thought(reading, self._own(thought))
        yield from self._draw(reading, row, generator)

    def _own(self, text: str) -> Said:
        return Said(tuple(self.words.encode(text, own=True)))

    def _segments(self, parts: list[tuple[str, Text | Image]], generator: torch.Generator | None) -> list[Segment]:
        """Texts and pictures as segments; with a generator, the noise of every picture in order, as in the release."""
        return [
            self.reader.shown(part, generator)
            if isinstance(part, Image)
            else Said(tuple(self.words.encode(part.text, own=role == "assistant")))
            for role, part in parts
        ]

    def _write(self, context: Context, row: BagelOptions, generator: torch.Generator) -> Generator[ModelEvent, None, str]:
        """Write one text after a context, which stays as it is."""
        started, sampling = time.perf_counter(), replace(row, temperature=row.text_temperature)
        self._check_room(context, row.max_tokens)
        marks, ids, said, confidence = self.words.marks, [], "", 1.0

        def pick(logits: Tensor) -> int:
            return int(sample(logits[None], sampling, generator))

        for fed in self.bagel.write(context, marks.text_begin, pick, row.max_tokens):
            if not ids:
                confidence = float(fed.logits.softmax(-1)[fed.following])
            if fed.following in (marks.text_begin, marks.text_end):
                break
            ids.append(fed.following)
            text = self.words.decode(ids)
            if not text.endswith("\ufffd") and len(text) > len(said):
                yield TextDelta(text[len(said) :])
                said = text
        text = self.words.decode(ids)
        if len(text) > len(said):
            yield TextDelta(text[len(said) :])
        yield PartDone(Text(text), {"seconds": time.perf_counter() - started, "tokens": len(ids), "confidence": confidence})
        return text

    def _check_room(self, context: Context, more: int) -> None:
        limit = self.config.language.max_position_embeddings
        if context.length + more > limit:
            raise BadInput(f"The document and the answer exceed {limit} tokens. Shorten the document or lower max_tokens.")

    def _draw(self, reading: Reading, row: BagelOptions, generator: torch.Generator) -> Iterator[ModelEvent]:
        """Draw a picture after what was read."""
        started, passes, image = time.perf_counter(), 0, None
        grid = latent_grid(self.config, *(reading.size or self._asked(row)))
        self._check_room(reading.main, grid[0] * grid[1] + 2)
        noise = torch.randn(grid[0] * grid[1], self.config.latent_width, generator=generator)
        with torch.inference_mode():
            denoiser = Denoiser(self.bagel, reading.contexts, grid, self.words.marks)
        steps = row.timesteps - 1
        shown = {round((number + 1) * steps / (row.previews + 1)) for number in range(row.previews)}
        for step in integrate(denoiser, noise, row.sampler, row.timesteps, row.timestep_shift, row.step_cache):
            passes += step.passes
            if step.index + 1 == steps:
                image = self._decoded(step.x, grid)
            elif step.index + 1 in shown or image is None:
                image = self._decoded(step.clean, grid)
            yield ImagePreview(image, step.index + 1, steps)
        yield PartDone(image, {"seconds": time.perf_counter() - started, "steps": steps, "passes": passes})

    def _decoded(self, tokens: Tensor, grid: Grid) -> Image:
        with torch.inference_mode():
            latent = unfold(tokens, grid, self.config.latent_patch)[None]
            return to_image(to_uint8(self.autoencoder.decode(latent)))

    def _asked(self, row: BagelOptions) -> tuple[int, int]:
        """Height and width of a picture from words alone, in whole tokens."""
        unit, full = self.config.token_pixels, self.config.full_side
        for name, side in (("height", row.height), ("width", row.width)):
            if side and not (unit <= side <= full and side % unit == 0):
                raise BadInput(f"The {name} must be a multiple of {unit} between {unit} and {full}, not {side}.")
        return row.height or full, row.width or full


def _check(parts: list[tuple[str, Text | Image]], document: Document, want: Want) -> None:
    """Raise ``BadInput`` for a document that leaves nothing to answer or to draw, or that is too much."""
    texts = [part.text for _, part in parts if isinstance(part, Text)]
    if not any(text.strip() for text in texts):
        raise BadInput("The document holds no words. Say what to draw, or ask something about the picture.")
    if want == "text" and document.turns[-1].role != "user":
        raise BadInput("The document ends with the assistant's turn. Add a question to it.")
    if (length := sum(map(len, texts))) > LONGEST:
        raise BadInput(f"The texts have {length} characters. Keep them under {LONGEST}.")
    for _, part in parts:
        if isinstance(part, Image):
            check_size(part)
