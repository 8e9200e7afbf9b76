"""A request's texts and pictures as the three contexts of guidance (fact sheet: bagel, section 8)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unimm.bagel.autoencoder import Autoencoder
from unimm.bagel.context import Context
from unimm.bagel.flow import MAIN, NO_IMAGE, NO_TEXT
from unimm.bagel.model import Bagel, Marks, encode, latent_grid, latent_noise, vision_patches
from unimm.bagel.mot import Rows
from unimm.bagel.pictures import fold, to_pixels
from unimm.document import Image
from unimm.errors import BadInput

REMEMBERED_TOKENS = 16384
"""Cached tokens kept between requests: about 0.9 GB at the published size in bf16."""


@dataclass(frozen=True)
class Said:
    """A text segment: ids with their marks."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class Shown:
    """A picture, and the noise [1, z, h, w] with which its latents are sampled; None reads it for its meaning alone."""

    image: Image
    noise: Tensor | None = None


Segment = Said | Shown


@dataclass(frozen=True)
class Reading:
    """What was read: the contexts by branch, and height and width of the last picture, if there was one."""

    contexts: Mapping[str, Context]
    size: tuple[int, int] | None = None

    @property
    def main(self) -> Context:
        return self.contexts[MAIN]


class Reader:
    """Reads segments, and remembers the latest contexts by their content: a longer document of the same beginning, seed
    and pictures goes on from there, with the same numbers bit for bit, for every segment is always read in a pass of its own.
    """

    def __init__(self, bagel: Bagel, autoencoder: Autoencoder, marks: Marks, remembered: int = REMEMBERED_TOKENS) -> None:
        self.bagel, self.autoencoder, self.marks, self.remembered = bagel, autoencoder, marks, remembered
        self._known: OrderedDict[str, tuple[Context, int]] = OrderedDict()

    def sized(self, image: Image) -> tuple[int, int]:
        """Height and width of a picture after the autoencoder's rule."""
        width, height = self.bagel.config.vae_rule.size(image.width, image.height)
        return height, width

    def shown(self, image: Image, generator: torch.Generator | None) -> Shown:
        """A picture as a segment; with a generator also for its pixels, the noise drawn here and now."""
        noise = latent_noise(self.bagel.config, *self.sized(image), generator) if generator is not None else None
        return Shown(image, noise)

    def read(self, segments: Sequence[Segment], system: Said | None = None, thought: Said | None = None) -> Reading:
        """The contexts after an optional system text, the segments in any order, and an optional thought.

        Without the last words: the main context as it was before the last text, and after each picture. Without pictures:
        all texts but the thought.
        """
        start = Context()
        main = no_image = self.say(start, system) if system else start
        no_text, size = start, None
        for segment in segments:
            if isinstance(segment, Said):
                no_text, main, no_image = main, self.say(main, segment), self.say(no_image, segment)
            else:
                main = no_text = self.see(main, segment)
                size = self.sized(segment.image)
        main = self.say(main, thought) if thought else main
        return Reading({MAIN: main, NO_TEXT: no_text, NO_IMAGE: no_image}, size)

    def with_thought(self, reading: Reading, thought: Said) -> Reading:
        """The same reading with the model's own thought behind the main context."""
        return Reading({**reading.contexts, MAIN: self.say(reading.main, thought)}, reading.size)

    def say(self, context: Context, segment: Said) -> Context:
        """Read a text."""
        key = _key(context, repr(segment.ids))
        return self._remembered(key, lambda: self.bagel.read_words(self._fits(context, len(segment.ids)), segment.ids, key)[0])

    def see(self, context: Context, segment: Shown) -> Context:
        """Read a picture: its latents, if they are wanted, then its patches."""
        if segment.noise is not None:
            noise = segment.noise
            key = _key(context, f"latents:{segment.image.hash}:{hashlib.sha256(noise.numpy().tobytes()).hexdigest()}")
            context = self._remembered(key, lambda before=context: self.latents(before, segment.image, noise, key)[0])
        patches_key = _key(context, f"patches:{segment.image.hash}")
        return self._remembered(patches_key, lambda: self.patches(context, segment.image, patches_key)[0])

    def latents(self, context: Context, image: Image, noise: Tensor, key: str = "") -> tuple[Context, Rows]:
        """Read a picture's clean latents, sampled with ``noise``."""
        config = self.bagel.config
        with torch.inference_mode():
            pixels = to_pixels(config.vae_rule.apply(config.vae_rule.apply(image.to_pil())))
            tokens = fold(encode(self.autoencoder, pixels, noise)[0], config.latent_patch)
            grid = latent_grid(config, *pixels.shape[1:])
            return self.bagel.read_latents(self._fits(context, len(tokens)), tokens, grid, self.marks, key)

    def patches(self, context: Context, image: Image, key: str = "") -> tuple[Context, Rows]:
        """Read a picture's vision patches; it goes through the autoencoder's rule first, as in the released demo."""
        config = self.bagel.config
        with torch.inference_mode():
            patches, grid = vision_patches(config, config.vae_rule.apply(image.to_pil()))
            return self.bagel.read_patches(self._fits(context, len(patches)), patches, grid, self.marks, key)

    def _fits(self, context: Context, more: int) -> Context:
        """Raise ``BadInput`` before a context grows beyond what the model was made for."""
        limit = self.bagel.config.language.max_position_embeddings
        if context.length + more > limit:
            raise BadInput(f"The texts and pictures together exceed {limit} tokens. Leave out earlier pictures or shorten the text.")
        return context

    def _remembered(self, key: str, read: Callable[[], Context]) -> Context:
        if key not in self._known:
            with torch.inference_mode():
                context = read()
            self._known[key] = (context, context.pieces[-1].length)
        self._known.move_to_end(key)
        context = self._known[key][0]
        while len(self._known) > 1 and sum(length for _, length in self._known.values()) > self.remembered:
            self._known.popitem(last=False)
        return context


def _key(context: Context, content: str) -> str:
    return hashlib.sha256(f"{context.key}|{content}".encode()).hexdigest()
