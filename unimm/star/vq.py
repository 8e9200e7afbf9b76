"""The VQ model: pictures to a grid of code ids and back.

A convolutional VQGAN whose module names are those of STAR's released checkpoints, so that the released weights load
as they are. Fields let a small model depart from it: ``encoder="patch"`` reads every patch on its own (a patch's
id then depends on its own pixels only), ``decoder="patch"`` works at the resolution of the codes and writes whole patches,
``attn_heads=0`` leaves the attention blocks out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.errors import BadInput


@dataclass(frozen=True)
class VQConfig:
    """Shape of a VQ model; one code stands for ``factor`` x ``factor`` pixels.

    ``num_res_blocks`` counts the encoder's residual blocks per level; the decoder has one more.
    ``patch_hidden`` is the width of the patch encoder and decoder.
    """

    ch: int
    encoder_ch_mult: tuple[int, ...]
    decoder_ch_mult: tuple[int, ...]
    num_res_blocks: int
    z_channels: int
    codebook_size: int
    codebook_dim: int
    attn_heads: int
    groups: int = 32
    eps: float = 1e-6
    encoder: Literal["conv", "patch"] = "conv"
    decoder: Literal["conv", "patch"] = "conv"
    patch_hidden: int = 0

    def __post_init__(self) -> None:
        if len(self.encoder_ch_mult) != len(self.decoder_ch_mult):
            raise BadInput("encoder_ch_mult and decoder_ch_mult must have the same length: both halves scale by the same factor.")
        if "patch" in (self.encoder, self.decoder) and self.patch_hidden < 1:
            raise BadInput("The patch encoder and decoder need patch_hidden of at least 1.")

    @property
    def factor(self) -> int:
        """Pixels per code along one side."""
        return 2 ** (len(self.encoder_ch_mult) - 1)


NOWHERE = 1e4
"""Where every entry of a code lies that is never to be the nearest one."""

class VQModel(nn.Module):
    """Encodes pixels [B, 3, H, W] in [-1, 1] to ids [B, h*w] in raster order, and decodes ids to pixels.

    H and W are multiples of ``config.factor`` and need not be equal. Decoded pixels are not clamped.
    """

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = PatchEncoder(config) if config.encoder == "patch" else Encoder(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.codebook_dim, 1)
        self.quantize = Codebook(config)
        self.post_quant_conv = nn.Conv2d(config.codebook_dim, config.z_channels, 1)
        self.decoder = PatchDecoder(config) if config.decoder == "patch" else Decoder(config)

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """Rows and columns of codes that a picture gives."""
        height, width = pixels.shape[-2:]
        factor = self.config.factor
        if height % factor or width % factor or not height or not width:
            raise BadInput(f"A picture's sides must be multiples of {factor} pixels, not {width} x {height}.")
        return height // factor, width // factor

    def pre_quant(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] to vectors [B, dim, h, w] that are not yet rounded to a code."""
        self.grid(pixels)
        return self.quant_conv(self.encoder(pixels))

    def nearest(self, z: Tensor) -> Tensor:
        """Ids [B, h*w] of the codes nearest (plain squared distance) to z [B, dim, h, w]."""
        with torch.autocast(z.device.type, enabled=False):
            rows, table = rearrange(z.float(), "b c h w -> b (h w) c"), self.quantize.embedding.weight.float()
            return torch.addmm(table.square().sum(1), rows.flatten(0, 1), table.T, alpha=-2).argmin(-1).view(rows.shape[:2])

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] to ids [B, h*w]."""
        return self.nearest(self.pre_quant(pixels))

    def codes(self, ids: Tensor) -> Tensor:
        """Codebook rows [B, n, dim] of ids [B, n]."""
        return self.quantize.embedding(ids)

    def decode_codes(self, z: Tensor) -> Tensor:
        """Code vectors [B, dim, h, w] to pixels [B, 3, H, W]."""
        return self.decoder(self.post_quant_conv(z))

    def decode(self, ids: Tensor, grid: tuple[int, int]) -> Tensor:
        """Ids [B, h*w] on a grid (h, w) to pixels [B, 3, H, W]."""
        if ids.shape[-1] != grid[0] * grid[1]:
            raise BadInput(f"{ids.shape[-1]} ids do not fill a grid of {grid[0]} rows and {grid[1]} columns.")
        return self.decode_codes(rearrange(self.codes(ids), "b (h w) c -> b c h w", h=grid[0]))


def to_uint8(pixels: Tensor) -> Tensor:
    """Decoded pixels [B, 3, H, W] to uint8 [B, H, W, 3]; fractions are cut off, as the release does."""
    levels = ((pixels.float() + 1) / 2 * 255).clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "b c h w -> b h w c")


class Codebook(nn.Module):
    """The table of code vectors."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codebook_size, config.codebook_dim)


def _norm(config: VQConfig, width: int) -> nn.GroupNorm:
    return nn.GroupNorm(config.groups, width, eps=config.eps)


class ResBlock(nn.Module):
    def __init__(self, config: VQConfig, width: int, out: int) -> None:
        super().__init__()
        self.norm1 = _norm(config, width)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.norm2 = _norm(config, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        if width != out:
            self.nin_shortcut = nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    """Attention over all places of the grid, heads splitting the channels."""

    def __init__(self, config: VQConfig, width: int) -> None:
        super().__init__()
        self.heads = config.attn_heads
        self.norm = _norm(config, width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (rearrange(part(h), "b (n d) h w -> b n (h w) d", n=self.heads) for part in (self.q, self.k, self.v))
        h = rearrange(F.scaled_dot_product_attention(q, k, v), "b n (h w) d -> b (n d) h w", h=x.shape[2])
        return x + self.proj_out(h)


class Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """One resolution: residual blocks, each followed by attention at the lowest one, then the change of size."""

    def __init__(self, config: VQConfig, width: int, out: int, blocks: int, attention: bool) -> None:
        super().__init__()
        self.res = nn.ModuleList(ResBlock(config, width if i == 0 else out, out) for i in range(blocks))
        self.attn = nn.ModuleList(AttnBlock(config, out) for _ in range(blocks if attention and config.attn_heads else 0))

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.res):
            x = block(x)
            if self.attn:
                x = self.attn[i](x)
        for name in ("downsample", "upsample"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x


def _middle(config: VQConfig, width: int) -> nn.Sequential:
    attention = AttnBlock(config, width) if config.attn_heads else nn.Identity()
    return nn.Sequential(ResBlock(config, width, width), attention, ResBlock(config, width, width))


class Encoder(nn.Module):
    """Pixels to latents, from the highest resolution to the lowest."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        widths = [config.ch * mult for mult in config.encoder_ch_mult]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(3, config.ch, 3, padding=1)
        self.conv_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = Level(config, widths[i - 1] if i else config.ch, width, config.num_res_blocks, attention=i == last)
            if i != last:
                level.downsample = Downsample(width)
            self.conv_blocks.append(level)
        self.mid = _middle(config, widths[-1])
        self.norm_out = _norm(config, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.conv_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Latents to pixels; level 0 is the lowest resolution."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        widths = [config.ch * mult for mult in reversed(config.decoder_ch_mult)]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(config.z_channels, widths[0], 3, padding=1)
        self.mid = _middle(config, widths[0])
        self.conv_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = Level(config, widths[i - 1] if i else width, width, config.num_res_blocks + 1, attention=i == 0)
            if i != last:
                level.upsample = Upsample(width)
            self.conv_blocks.append(level)
        self.norm_out = _norm(config, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in self.conv_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class PatchEncoder(nn.Module):
    """A small network over the pixels of one patch at a time: no patch sees its neighbours."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, config.patch_hidden, config.factor, stride=config.factor)
        self.hidden = nn.Conv2d(config.patch_hidden, config.patch_hidden, 1)
        self.out = nn.Conv2d(config.patch_hidden, config.z_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.patch(x))
        return self.out(h + F.silu(self.hidden(h)))


class PatchDecoder(nn.Module):
    """Latents to pixels at the resolution of the codes: a look at the neighbours, then each patch is written whole."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        width = config.patch_hidden
        self.factor = config.factor
        self.conv_in = nn.Conv2d(config.z_channels, width, 3, padding=1)
        self.near = nn.Conv2d(width, width, 3, padding=1)
        self.hidden = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))
        self.conv_out = nn.Conv2d(width, 3 * config.factor**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        h = h + self.near(F.silu(h))
        for layer in self.hidden:
            h = h + layer(F.silu(h))
        return rearrange(self.conv_out(F.silu(h)), "b (c p q) h w -> b c (h p) (w q)", p=self.factor, q=self.factor)
