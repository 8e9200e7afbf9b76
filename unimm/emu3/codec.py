"""Pictures to codes and back, over the native VQ network.

The codec is made for clips: it reads a picture as ``T`` equal frames and draws ``T`` frames of which the first is the
picture (fact sheet: janus_pro_emu3, section 2.1). All frames pass the same 2-D network, and time only flows forwards, so
one frame is enough on both sides; the values are the same. Codes are the nearest rows of the codebook, unnormalised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image as PILImage
from torch import Tensor
from transformers.models.emu3.modeling_emu3 import Emu3VQVAE

from unimm.document import Image
from unimm.emu3.grammar import read_size
from unimm.errors import BadInput

SMALLEST_SIDE, LARGEST_AREA, LARGEST_RATIO = 8, 40_000_000, 200
GREY = 128


@dataclass(frozen=True)
class Codec:
    """A VQ network in eval mode, and the bounds (pixels) of what it is given to read."""

    net: Emu3VQVAE
    pixels: tuple[int, int]

    @property
    def factor(self) -> int:
        """Pixels a code, along a side."""
        return self.net.spatial_scale_factor

    @property
    def frames(self) -> int:
        """Frames a code, along time."""
        return self.net.config.temporal_downsample_factor

    @property
    def device(self) -> torch.device:
        return self.net.quantize.embedding.weight.device

    # --- picture to codes

    def prepare(self, picture: Image | PILImage.Image) -> Tensor:
        """[1, 3, H, W] in [-1, 1] (mean and deviation 0.5), resized within the bounds; raises ``BadInput`` for absurd sizes."""
        width, height = picture.width, picture.height
        if min(width, height) < SMALLEST_SIDE or width * height > LARGEST_AREA:
            raise BadInput(f"A picture of {width}x{height} cannot be read. Use one of at least 8 pixels a side and at most 40 megapixels.")
        if max(width, height) > LARGEST_RATIO * min(width, height):
            raise BadInput(f"A picture of {width}x{height} is too narrow. Crop it first.")
        picture = picture.to_pil() if isinstance(picture, Image) else picture.convert("RGB")
        high, wide = read_size(height, width, self.factor, *self.pixels)
        if (wide, high) != picture.size:
            picture = picture.resize((wide, high), PILImage.Resampling.BICUBIC)
        values = torch.from_numpy(np.array(picture)).to(torch.float32) / 255
        return rearrange((values - 0.5) / 0.5, "h w c -> 1 c h w")

    def latents(self, pixels: Tensor) -> Tensor:
        """What enters the nearest-code search: [B, 1, embed, h, w] of pictures [B, 3, H, W]."""
        return self._over_time(repeat(self._features(pixels), "b c h w -> b c t h w", t=self.frames))

    def clip_latents(self, clip: Tensor) -> Tensor:
        """The same of clips [B, T, 3, H, W]: [B, T / frames, embed, h, w]. (The native ``encode`` crops clips along wrong axes.)"""
        features = self._features(rearrange(clip, "b t c h w -> (b t) c h w"))
        return self._over_time(rearrange(features, "(b t) c h w -> b c t h w", b=len(clip)))

    def nearest(self, latents: Tensor) -> Tensor:
        """Codes [B, T, h, w] of latents [B, T, embed, h, w]."""
        return self.net.quantize(latents)

    def encode(self, pixels: Tensor) -> Tensor:
        """Codes [B, h, w] of pictures [B, 3, H, W]."""
        return self.nearest(self.latents(pixels)).squeeze(1)

    def _features(self, frames: Tensor) -> Tensor:
        """The 2-D part of the encoder: [N, C, h, w]."""
        encoder = self.net.encoder
        hidden = encoder.conv_in(frames.to(self.device, self.net.dtype))
        hidden = encoder.middle_block(encoder.down_block(hidden))
        return encoder.conv_out(_swish(encoder.norm_out(hidden)))

    def _over_time(self, hidden: Tensor) -> Tensor:
        """The encoder's part along time: [B, C, T, h, w] to latents [B, T', embed, h, w]."""
        for down in self.net.encoder.time_conv:
            hidden = _swish(down(hidden))
        for block in self.net.encoder.time_res_stack:
            hidden = block(hidden)
        return rearrange(self.net.quant_conv(hidden), "b c t h w -> b t c h w")

    # --- codes to picture

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures [B, 3, H, W], about [-1, 1], of codes [B, h, w]."""
        hidden, codebook = self._through_time(codes[:, None])
        return self._paint(hidden[:, :, 0], codebook[:, :, 0])

    def decode_clip(self, codes: Tensor) -> Tensor:
        """Clips [B, T * frames, 3, H, W] of codes [B, T, h, w]."""
        hidden, codebook = (rearrange(part, "b c t h w -> (b t) c h w") for part in self._through_time(codes))
        return rearrange(self._paint(hidden, codebook), "(b t) c h w -> b t c h w", b=len(codes))

    def _through_time(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's part along time, for what is painted and for the map that modulates it: [B, C, T, h, w] each."""
        codebook = rearrange(self.net.quantize.embedding(codes.to(self.device)), "b t h w c -> b c t h w")
        both = torch.cat([self.net.post_quant_conv(codebook), codebook])
        for block in self.net.decoder.time_res_stack:
            both = block(both)
        for up in self.net.decoder.time_conv:
            both = _swish(up(both))
        return both.chunk(2)

    def _paint(self, hidden: Tensor, codebook: Tensor) -> Tensor:
        """The 2-D part of the decoder: frames [N, 3, H, W]."""
        decoder = self.net.decoder
        hidden = decoder.middle_block(decoder.conv_in(hidden), codebook)
        hidden = decoder.up_block(hidden, codebook)
        return decoder.conv_out(_swish(decoder.norm_out(hidden, codebook)))


def _swish(hidden: Tensor) -> Tensor:
    return hidden * torch.sigmoid(hidden)


def to_uint8(pixels: Tensor) -> Tensor:
    """[3, H, W] in [-1, 1] to bytes [H, W, 3], truncated."""
    return rearrange(((pixels.float() / 2 + 0.5) * 255).clamp(0, 255).to(torch.uint8), "c h w -> h w c").cpu()


def to_image(pixels: Tensor, height: int | None = None) -> Image:
    """A picture of decoded pixels [3, H, W]; filled up with grey to ``height``, where only the upper rows are drawn."""
    values = to_uint8(pixels)
    if height is not None and height > len(values):
        values = torch.cat([values, values.new_full((height - len(values), *values.shape[1:]), GREY)])
    return Image(values.shape[1], values.shape[0], values.numpy().tobytes())
