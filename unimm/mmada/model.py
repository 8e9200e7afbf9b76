"""MMaDA as a ``UnifiedModel``: answers, thinks, draws and edits, event by event."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, ModelEvent, PartDone, TextDelta
from unimm.mmada import edit
from unimm.mmada.backbone import Backbone
from unimm.mmada.config import REPOSITORIES, TEXT_LENGTH
from unimm.mmada.options import MmadaOptions
from unimm.mmada.pictures import FITS, sane, to_picture, to_pixels
from unimm.mmada.prompts import THINKING, Layout, chat, split_thought
from unimm.mmada.text import SeededNoise, write
from unimm.mmada.unmask import DrawStep, Scene, SeededDraws, unmask
from unimm.mmada.vq import MagvitV2
from unimm.mmada.words import Words
from unimm.model import Capabilities, Options, Want

REMEMBERED = 64
"""How many pictures' codes are kept."""

SHORTEST = 16
"""An answer must have room for so many tokens, or for all that are asked for."""


class MmadaModel:
    """One row of words and codes a call. It looks at, and edits, the last picture of a document: more than one was never trained.

    Stateless towards its callers; inside, it remembers the codes of the latest pictures by their content.
    """

    options_type = MmadaOptions

    def __init__(self, backbone: Backbone, vq: MagvitV2, words: Words, name: str = "mmada") -> None:
        self.backbone, self.vq, self.words, self.name = backbone, vq, words, name
        config, self.special = backbone.config, words.special
        self.side = math.isqrt(config.slots)
        if self.side**2 != config.slots:
            raise BadInput(f"{config.slots} picture slots are no square. Check num_vq_tokens in config.json.")
        self.pixels = self.side * vq.config.factor
        self.layout = Layout(self.special, min(TEXT_LENGTH, config.context - config.slots - 3))
        self.barred = torch.ones(config.rows, dtype=torch.bool, device=backbone.device)
        self.barred[: self.special.bos] = False
        self.barred[[self.special.eos, self.special.eot]] = False
        self._codes: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def capabilities(self) -> Capabilities:
        size = self.backbone.config.parameters / 1e9
        vq = sum(one.numel() for one in self.vq.parameters()) * 4 / 1e9
        return Capabilities(
            understand=True, generate=True, edit=True, interleave=False, latents=False, image_sizes=(self.pixels,), licence="MIT",
            weights=REPOSITORIES.get(self.name, REPOSITORIES["mmada-8b-mixcot"]),
            memory_gb={"float32": round(4 * size + vq, 2), "bfloat16": round(2 * size + vq, 2)},
        )  # fmt: skip

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        """See ``UnifiedModel.stream``; ``options`` may be ``MmadaOptions``.

        Every step of a text yields a ``TextDelta`` of the characters that became certain from the left, which may be none.
        Raises ``BadInput`` for a document that leaves nothing to do, or does not fit the context.
        """
        settings = MmadaOptions.from_options(options)
        texts, pictures = _contents(document)
        answers = document.turns[-1].role == "user"
        if want == "text" and not answers:
            raise BadInput("The document ends with the assistant's turn. Add a question to it.")
        source = sane(pictures[-1]) if pictures else None
        generator = torch.Generator().manual_seed(settings.seed)
        if want == "text":
            yield from self._write(document, source, settings, generator, settings.thinking)
            return
        wish, thought = _wish(document)
        if not wish and source is None:
            raise BadInput("There are no words to draw after. Say what the picture shall show.")
        self._room(wish)
        if answers and settings.think and texts:
            thought = yield from self._write(document, source, settings, generator, True)
        yield from self._draw(source, self._drawing_words(wish, thought), settings, generator)

    # --- words

    def _write(
        self, document: Document, source: Image | None, options: MmadaOptions, generator: torch.Generator, thinking: bool
    ) -> Iterator[ModelEvent]:
        """Write one text and return it."""
        started, prompt = time.perf_counter(), self._question(document, source, options, thinking)
        plan = options.writing(self._left(len(prompt), options.max_tokens), self.barred)
        ids = torch.tensor([prompt], device=self.backbone.device)
        said, passes, stats = "", 0, {}
        found: list[int] = []
        for step in write(self.backbone, ids, plan, SeededNoise(generator)):
            passes += step.fed is not None
            found, ended = self._certain(step.ids[0, len(prompt) :], options.max_tokens)
            if "confidence" not in stats and int(step.ids[0, len(prompt)]) != self.special.mask and plan.remasking == "low_confidence":
                stats["confidence"] = float(step.confidence[0, len(prompt)])
            text = self.words.decode(found)
            new = text[len(said) :] if text.startswith(said) and not text.endswith("\ufffd") else ""
            said += new
            yield TextDelta(new)
            if ended:
                break
        text = self.words.decode(found)
        if text.startswith(said) and text != said:
            yield TextDelta(text[len(said) :])
            said = text
        stats |= {"seconds": time.perf_counter() - started, "tokens": len(found), "passes": passes}
        yield PartDone(Text(said), stats)
        return said

    def _question(self, document: Document, source: Image | None, options: MmadaOptions, thinking: bool) -> list[int]:
        """The prompt of a text: the last picture, if there is one, then the conversation's words."""
        messages = _messages(document)
        if thinking:
            last = max((i for i, (role, _) in enumerate(messages) if role == "user"), default=0)
            messages[last] = (messages[last][0], THINKING + messages[last][1])
        ids = self.words.encode(chat(messages))
        if source is None:
            return self.layout.begun(ids)
        key = f"{options.fit}:{source.hash}"
        codes = self._remembered(key, lambda: to_pixels(FITS[options.fit](source.to_pil(), self.pixels))[None])
        return self.layout.looking(ids, (codes + self.special.offset).tolist())

    def _left(self, prompt: int, wanted: int) -> int:
        """Columns left to write after a prompt; raises ``BadInput`` where these are too few to say anything."""
        context = self.backbone.config.context
        if context - prompt < min(SHORTEST, wanted):
            raise BadInput(f"The text is too long for this model: {prompt} tokens where {context} fit, answer included. Shorten it.")
        return context - prompt

    def _certain(self, written: Tensor, most: int) -> tuple[list[int], bool]:
        """The tokens before the first mask or end of a text, and whether the text ends there."""
        run: list[int] = []
        for token in written[:most].tolist():
            if token in (self.special.eos, self.special.eot):
                return run, True
            if token == self.special.mask:
                return run, False
            run.append(token)
        return run, True

    # --- pictures

    def _room(self, wish: str) -> None:
        words, room = len(self.words.encode(wish)), self.layout.text_length - 2
        if words > room:
            raise BadInput(f"The words are too long to draw after: {words} tokens, at most {room} fit. Shorten them.")

    def _drawing_words(self, wish: str, thought: str) -> list[int]:
        """Ids of what is drawn after: the user's words, and as much of the thought as there is room for."""
        inner = "\n".join(part for part in (wish, *split_thought(thought)) if part)
        return self.words.encode(inner)[: self.layout.text_length - 2]

    def _draw(self, source: Image | None, words: list[int], options: MmadaOptions, generator: torch.Generator) -> Iterator[ModelEvent]:
        """Draw a picture, or draw a source's masked slots anew."""
        started = time.perf_counter()
        slots = torch.full((1, self.backbone.config.slots), self.special.mask, device=self.backbone.device)
        scene = self.scene(words, slots)
        if source is None:
            sheet, scale, extra = Sheet(None, None, None), self.backbone.config.slots, 0
        else:
            sheet, masked, extra = self._masked(source, scene, options)
            codes = sheet.codes.to(slots.device) + self.special.offset
            scene, scale = scene.with_slots(torch.where(masked.to(slots.device), slots, codes[None])), None
        plan, image, step = options.drawing(scale), None, None
        for step in unmask(self.backbone, scene, self.special.offset, plan, SeededDraws(generator), options.mask_pads):
            last, every = step.passes == plan.steps, options.preview_every
            if last or (every and step.passes % every == 0):
                image = self._shown(step, sheet)
                waiting = 0 if last else int(step.masked[0])
                yield ImagePreview(image, scene.slots - waiting, scene.slots)
        assert step is not None and image is not None
        changed = scene.slots if source is None else int(sheet.changed(step.codes[0].cpu()).sum())
        stats = {"seconds": time.perf_counter() - started, "tokens": scene.slots, "passes": step.passes + extra, "changed": changed}
        yield PartDone(image, stats)

    def scene(self, words: list[int], slots: Tensor) -> Scene:
        """Words and slots [1, N] of full-vocabulary ids as the rows to draw after, with and without the words."""
        image = slots[0].tolist()
        rows = [self.layout.drawing(one, image) for one in (words, [])]
        ids, masks = (torch.tensor([getattr(row, name) for row in rows], device=slots.device) for name in ("ids", "mask"))
        return Scene(ids[:1], masks[:1], len(image), ids[1:], masks[1:])

    @torch.inference_mode()
    def _masked(self, source: Image, scene: Scene, options: MmadaOptions) -> tuple[Sheet, Tensor, int]:
        """The source on its canvas, which slots to draw anew [1, N], and how many passes it took to find out."""
        where = edit.place(source, self.side, options.extend)
        codes = self._remembered(f"{where}:{source.hash}", lambda: edit.canvas(source, where, self.vq.config.factor))
        sheet, named = Sheet(source, where, codes.cpu()), options.region != (0.0, 0.0, 1.0, 1.0)
        masked, passes = ~where.inside, 0
        if named:
            masked = masked | edit.region(where, options.region)
        elif not masked.any():
            known = scene.with_slots((codes + self.special.offset)[None])
            values = edit.support(self.backbone, known, self.special.offset, options.drawing(None))
            masked, passes = edit.least_supported(values[0].cpu(), options.strength), 2
        return sheet, masked[None], passes

    @torch.inference_mode()
    def _shown(self, step: DrawStep, sheet: Sheet) -> Image:
        """The picture of a step's complete draw."""
        drawn = to_picture(self.vq.decode(step.codes[:1].clamp(0, self.backbone.config.codes - 1)))
        if sheet.source is None:
            return Image.from_pil(drawn)
        return edit.compose(sheet.source, drawn, sheet.changed(step.codes[0].cpu()), sheet.where)

    @torch.inference_mode()
    def _remembered(self, key: str, pixels: Callable[[], Tensor]) -> Tensor:
        """Codes [N] of a picture, computed once."""
        if key not in self._codes:
            self._codes[key] = self.vq.encode(pixels().to(self.backbone.device))[0]
            while len(self._codes) > REMEMBERED:
                self._codes.popitem(last=False)
        self._codes.move_to_end(key)
        return self._codes[key]


@dataclass(frozen=True)
class Sheet:
    """What a picture is drawn over: nothing, or a source with its place and codes [N]."""

    source: Image | None
    where: edit.Place | None
    codes: Tensor | None

    def changed(self, codes: Tensor) -> Tensor:
        """Slots that do not show the source: other codes than its own, and all that lies outside it."""
        return (codes != self.codes) | ~self.where.inside


def _contents(document: Document) -> tuple[list[str], list[Image]]:
    """All texts that say something, and all pictures; raises ``BadInput`` where there are neither."""
    parts = [part for turn in document.turns for part in turn.parts]
    texts = [part.text for part in parts if isinstance(part, Text) and part.text.strip()]
    pictures = [part for part in parts if isinstance(part, Image)]
    if not texts and not pictures:
        raise BadInput("The document is empty. Put a picture or some words into it.")
    return texts, pictures


def _messages(document: Document) -> list[tuple[str, str]]:
    """Every turn's role and words."""
    return [(turn.role, "\n".join(part.text for part in turn.parts if isinstance(part, Text))) for turn in document.turns]


def _wish(document: Document) -> tuple[str, str]:
    """The words of the user's last turn, and those of the assistant's after it."""
    wish = thought = ""
    for role, words in _messages(document):
        wish, thought = (words.strip(), "") if role == "user" else (wish, words.strip())
    return wish, thought
