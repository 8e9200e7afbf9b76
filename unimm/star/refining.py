"""A large picture from VQ codes: the diffusion decoder's part of a drawing, with previews of what it seems to lead to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from unimm.document import Image
from unimm.events import ImagePreview
from unimm.star.decoder import DRAWN, EDITED, DiffusionDecoder, Prompt, with_defaults
from unimm.star.options import StarOptions
from unimm.star.processor import FULL_SIDE, vq_pixels
from unimm.star.words import Words

SYSTEM = (
    "You are an assistant designed to generate superior images with the superior degree of image-text alignment based on textual prompts "
    "or user prompts."
)
"""The stock Lumina-2 pipeline's system sentence; the decoder was trained behind it."""
LONGEST_CAPTION = 256
PREVIEWS = 5


class Refiner:
    """The diffusion decoder and the words of its text encoder."""

    def __init__(self, decoder: DiffusionDecoder, words: Words) -> None:
        self.decoder, self.words = decoder, words

    def prompts(self, caption: str) -> dict[bool, Prompt]:
        """Features of the words behind the system sentence, and of the empty prompt, which has none."""
        return {True: self._read(f"{SYSTEM} <Prompt Start> {caption}"), False: self._read("")}

    def _read(self, text: str) -> Prompt:
        ids = torch.tensor([self.words.encode(text)[:LONGEST_CAPTION]])
        return self.decoder.read(ids, torch.ones_like(ids))

    def draw(self, caption: str, codes: Tensor, source: Image | None, options: StarOptions, generator: torch.Generator,
             ) -> Iterator[ImagePreview]:  # fmt: skip
        """Previews of the picture, the last one finished; ``codes`` [1, n, dim] are the codebook rows of its tokens."""
        decoder, published = self.decoder, DRAWN if source is None else EDITED
        guidance = with_defaults(published, options.diffusion_steps, options.text_guidance, options.image_guidance)
        with torch.inference_mode():
            latents = decoder.noise(generator)
            source_latents = None if source is None else decoder.encode(self._pixels(source), generator)
            prompts = self.prompts(caption)
            codes = decoder.code_map(codes.to(decoder.device).float(), tuple(latents.shape[2:]))
        every = max(1, guidance.steps // PREVIEWS)
        for step in decoder.refine(latents, prompts, codes, source_latents, guidance):
            if step.done == step.total or step.done % every == 0:
                shown = step.latents if step.done == step.total else step.clean
                yield ImagePreview(_image(decoder.decode(shown)), step.done, step.total)

    def _pixels(self, source: Image) -> Tensor:
        side = self.decoder.config.resolution
        pixels = vq_pixels(source.to_pil(), FULL_SIDE)[None]
        return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)


def _image(pixels: Tensor) -> Image:
    levels = rearrange((pixels[0] * 255).round().to(torch.uint8), "c h w -> h w c").cpu().numpy()
    return Image(levels.shape[1], levels.shape[0], levels.tobytes())
