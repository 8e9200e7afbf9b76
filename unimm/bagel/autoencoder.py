"""The FLUX autoencoder: pixels to sampled latents and back (fact sheet: bagel, section 4).

Module names are the published keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from unimm.bagel.config import AutoencoderSize

GROUPS = 32
EPS = 1e-6


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, EPS)


class Residual(nn.Module):
    """Two normed 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.norm2, self.conv2 = _norm(out), nn.Conv2d(out, out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(y)))


class PixelAttention(nn.Module):
    """One head over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (rearrange(layer(y), "b c h w -> b 1 (h w) c").contiguous() for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(rearrange(y, "b 1 (h w) c -> b c h w", h=x.shape[2]))


class Middle(nn.Module):
    """Residual, attention, residual at the coarsest level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Residual(channels, channels), PixelAttention(channels), Residual(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Down(nn.Module):
    """3x3 with stride 2, padded at the right and the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    """Nearest neighbour twice as large, then 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The residual blocks of one resolution, and what leads to the next."""

    def __init__(self, channels: Sequence[int], **change: nn.Module) -> None:
        super().__init__()
        self.block = nn.ModuleList(Residual(a, b) for a, b in pairwise(channels))
        for name, module in change.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        for name, module in self.named_children():
            x = x if name == "block" else module(x)
        return x


class Encoder(nn.Module):
    """Pixels [b, 3, H, W] to mean and log variance, [b, 2 z, H / factor, W / factor]."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        widths = [size.ch * mult for mult in size.ch_mult]
        self.conv_in = nn.Conv2d(size.in_channels, size.ch, 3, padding=1)
        levels, channels = [], size.ch
        for index, width in enumerate(widths):
            change = {"downsample": Down(width)} if index + 1 < len(widths) else {}
            levels.append(Level([channels, *[width] * size.num_res_blocks], **change))
            channels = width
        self.down, self.mid, self.norm_out = nn.ModuleList(levels), Middle(channels), _norm(channels)
        self.conv_out = nn.Conv2d(channels, 2 * size.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Latents [b, z, h, w] to pixels [b, 3, h * factor, w * factor], not clamped."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        widths = [size.ch * mult for mult in size.ch_mult]
        channels = widths[-1]
        self.conv_in, self.mid = nn.Conv2d(size.z_channels, channels, 3, padding=1), Middle(channels)
        levels: list[Level] = []
        for index, width in reversed(list(enumerate(widths))):
            change = {"upsample": Up(width)} if index else {}
            levels.insert(0, Level([channels, *[width] * (size.num_res_blocks + 1)], **change))
            channels = width
        self.up, self.norm_out = nn.ModuleList(levels), _norm(channels)
        self.conv_out = nn.Conv2d(channels, size.out_ch, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    """Both ways, with the affine map between the autoencoder's latents and the model's."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        self.size = size
        self.encoder, self.decoder = Encoder(size), Decoder(size)

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [b, z, h, w] of pixels [b, 3, H, W] in [-1, 1]."""
        mean, logvar = self.encoder(pixels).chunk(2, 1)
        return mean, logvar

    def latent(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """The latents that the model works with: sampled with standard normal ``noise`` of their shape, scaled and shifted."""
        mean, logvar = self.moments(pixels)
        return self.scaled(mean + torch.exp(0.5 * logvar) * noise)

    def scaled(self, sample: Tensor) -> Tensor:
        """From the autoencoder's own latents to the model's."""
        return self.size.scale_factor * (sample - self.size.shift_factor)

    def decode(self, latent: Tensor) -> Tensor:
        """Model latents [b, z, h, w] to pixels, not clamped."""
        return self.decoder(latent / self.size.scale_factor + self.size.shift_factor)
