"""MAGVIT-v2 without a look-up: the signs of a picture's latents are its codes (fact sheet mmada, section 5)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.errors import BadInput
from unimm.mmada.config import VQConfig


class MagvitV2(nn.Module):
    """Encodes pixels [B, 3, H, W] in [-1, 1] to codes [B, h*w] in raster order, and decodes codes to pixels."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Signs(config.bits)

    def latent(self, pixels: Tensor) -> Tensor:
        """Pixels to the numbers whose signs are the codes, [B, bits, h, w]; sides must be multiples of the factor."""
        height, width = pixels.shape[-2:]
        if height % self.config.factor or width % self.config.factor or not height or not width:
            raise BadInput(f"A picture's sides must be multiples of {self.config.factor} pixels, not {width} x {height}.")
        return self.encoder(pixels)

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] to codes [B, h*w]."""
        return self.quantize.codes(self.latent(pixels))

    def decode(self, codes: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Codes [B, h*w] to pixels [B, 3, H, W], roughly in [-1, 1], not clamped; ``grid`` (rows, columns) is square by default."""
        if grid is None:
            grid = (math.isqrt(codes.shape[1]),) * 2
        if grid[0] * grid[1] != codes.shape[1]:
            raise BadInput(f"{codes.shape[1]} codes do not fill a grid of {grid[0]} x {grid[1]}.")
        return self.decoder(self.quantize.vectors(codes, grid))


class Signs(nn.Module):
    """Codes and their vectors of -1 and +1; channel 0 is the most significant bit. The buffers are in the published files."""

    embedding: Tensor
    power_vals: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        powers = 2 ** torch.arange(bits - 1, -1, -1)
        ones = (torch.arange(2**bits)[:, None] & powers) > 0
        self.register_buffer("embedding", ones.float() * 2 - 1)
        self.register_buffer("power_vals", powers)

    def codes(self, latent: Tensor) -> Tensor:
        """Latents [B, bits, h, w] to codes [B, h*w]; zero counts as negative."""
        ones = rearrange(latent > 0, "b c h w -> b (h w) c").long()
        return (ones * self.power_vals.long()).sum(-1)

    def vectors(self, codes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Codes [B, h*w] to vectors [B, bits, h, w]."""
        return rearrange(self.embedding[codes], "b (h w) c -> b c h w", h=grid[0])


def norm(channels: int, config: VQConfig) -> nn.GroupNorm:
    return nn.GroupNorm(config.groups, channels, eps=config.eps)


class ResBlock(nn.Module):
    """Twice norm, swish and convolution, around a skip that is 1x1 where the width changes."""

    def __init__(self, wide_in: int, wide_out: int, config: VQConfig) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(wide_in, config), nn.Conv2d(wide_in, wide_out, 3, padding=1)
        self.norm2, self.conv2 = norm(wide_out, config), nn.Conv2d(wide_out, wide_out, 3, padding=1)
        if wide_in != wide_out:
            self.nin_shortcut = nn.Conv2d(wide_in, wide_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    """One head over all places of the grid."""

    def __init__(self, width: int, config: VQConfig) -> None:
        super().__init__()
        self.norm = norm(width, config)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        query, key, value = (rearrange(one(h), "b c h w -> b 1 (h w) c") for one in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.proj_out(rearrange(mixed, "b 1 (h w) c -> b c h w", h=x.shape[2]))


class Middle(nn.Module):
    """The lowest resolution: a block, attention, a block."""

    def __init__(self, width: int, config: VQConfig) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = ResBlock(width, width, config), Attention(width, config), ResBlock(width, width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Resample(nn.Module):
    """A 3x3 convolution that halves both sides (one zero at right and bottom) or doubles them (nearest)."""

    def __init__(self, width: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(width, width, 3, stride=2 if down else 1, padding=0 if down else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one resolution, attention after each where the config asks for it, and the way to the next resolution."""

    def __init__(self, wide_in: int, wide_out: int, blocks: int, attention: bool, resample: str | None, config: VQConfig) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResBlock(wide_out if i else wide_in, wide_out, config) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(wide_out, config) for _ in range(blocks if attention else 0))
        self.way = resample
        if resample:
            self.add_module(resample, Resample(wide_out, resample == "downsample"))

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        return self.get_submodule(self.way)(x) if self.way else x


class Encoder(nn.Module):
    """Pixels to latents."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        widths = [config.ch * m for m in config.encoder_mult]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(3, config.ch, 3, padding=1)
        self.down = nn.ModuleList(
            Level(widths[i - 1] if i else config.ch, width, config.encoder_blocks[i], config.resolution >> i in config.attention_at,
                  "downsample" if i < last else None, config)
            for i, width in enumerate(widths)
        )  # fmt: skip
        self.mid = Middle(widths[-1], config)
        self.norm_out = norm(widths[-1], config)
        self.conv_out = nn.Conv2d(widths[-1], config.bits, 3, padding=1)
        self.quant_conv = nn.Conv2d(config.bits, config.bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(self.mid(x)))))


class Decoder(nn.Module):
    """Code vectors to pixels; ``up`` is numbered by resolution and runs from the last to the first."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        widths = [config.decoder_ch * m for m in config.decoder_mult]
        last = len(widths) - 1
        self.post_quant_conv = nn.Conv2d(config.bits, config.bits, 1)
        self.conv_in = nn.Conv2d(config.bits, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], config)
        self.up = nn.ModuleList(
            Level(widths[min(i + 1, last)], width, config.decoder_blocks[i], config.resolution >> i in config.attention_at,
                  "upsample" if i else None, config)
            for i, width in enumerate(widths)
        )  # fmt: skip
        self.norm_out = norm(widths[0], config)
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(self.post_quant_conv(x)))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))
