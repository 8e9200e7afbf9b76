"""The diffusion transformer that turns a map of VQ codes into a large picture: Lumina-2's blocks, extended twice by STAR.

Pictures come as latents with the map of codes behind their own channels. ``SeqLumina`` (published) gets the source below
the noisy picture, as one tall picture; ``RefLumina`` gets it apart, between the words and the picture
(fact sheet: star, section 9). ``PlainLumina`` (the embedded model's) gets it in further channels at the same place, which
costs no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from diffusers.models.normalization import LuminaLayerNormContinuous
from diffusers.models.transformers.transformer_lumina2 import Lumina2CombinedTimestepCaptionEmbedding, Lumina2TransformerBlock
from einops import rearrange, repeat
from torch import Tensor, nn

from unimm.star.decoder_config import LuminaConfig

ROPE_BASE = 10000.0
TIME_WIDTH = 1024
"""The embedding of the noise level is never wider than this."""


class Lumina(nn.Module):
    """Predicts the velocity (towards the clean picture) of noisy latents; the parts both variants share."""

    def __init__(self, config: LuminaConfig) -> None:
        super().__init__()
        self.config = config
        values = config.patch_size**2 * (config.latent_channels + config.vq_dim + config.extra_channels)
        self.x_embedder = nn.Linear(values, config.hidden_size)
        self.time_caption_embed = Lumina2CombinedTimestepCaptionEmbedding(config.hidden_size, config.cap_feat_dim, norm_eps=config.norm_eps)
        self.noise_refiner = self._blocks(config.num_refiner_layers, modulation=True)
        self.context_refiner = self._blocks(config.num_refiner_layers, modulation=False)
        self.layers = self._blocks(config.num_layers, modulation=True)
        self.norm_out = LuminaLayerNormContinuous(
            config.hidden_size, min(config.hidden_size, TIME_WIDTH), elementwise_affine=False, eps=1e-6, bias=True,
            out_dim=config.patch_size**2 * config.latent_channels,
        )  # fmt: skip

    def _blocks(self, count: int, modulation: bool) -> nn.ModuleList:
        config = self.config
        make = partial(
            Lumina2TransformerBlock, config.hidden_size, config.num_attention_heads, config.num_kv_heads, config.multiple_of,
            config.ffn_dim_multiplier, config.norm_eps, modulation,
        )  # fmt: skip
        return nn.ModuleList(make() for _ in range(count))

    def forward(self, picture: Tensor, time: Tensor, text: Tensor, mask: Tensor, references: Sequence[Tensor] = ()) -> Tensor:
        """Velocity [B, C, H, W] of a picture [B, C + code + extra, H, W].

        ``time`` [B] runs from 0 (noise) to 1 (picture). ``text`` [B, L, D] are the words' features, ``mask`` [B, L] marks the
        valid ones, which come first. ``references`` are more pictures of the same kind (``RefLumina`` only).
        """
        level, text = self.time_caption_embed(picture, time, text)
        lengths = mask.sum(1).tolist()
        words = self._word_places(text.shape[1]).to(text.device)
        for block in self.context_refiner:
            text = block(text, mask, self._turns(words[None].expand(len(text), -1, -1)))
        grids = [self._grid(item) for item in (*references, picture)]
        tokens = [self._reference(item, number, level, grids[number]) for number, item in enumerate(references)]
        tokens = torch.cat([*tokens, self._main(picture, level, grids[-1])], 1)
        joint, places, valid = self._join(text, tokens, words, self._picture_places(grids).to(text.device), lengths)
        turns = self._turns(places)
        for block in self.layers:
            joint = block(joint, valid, turns, level)
        rows, columns = grids[-1]
        drawn = torch.stack([row[stop - rows * columns : stop] for row, stop in zip(joint, self._stops(lengths, grids), strict=True)])
        patch = {"p": self.config.patch_size, "q": self.config.patch_size}
        return rearrange(self.norm_out(drawn, level), "b (h w) (p q c) -> b c (h p) (w q)", h=rows, **patch)

    def _word_places(self, count: int) -> Tensor:
        """Rope places [count, 3] of the words."""
        raise NotImplementedError

    def _main(self, picture: Tensor, level: Tensor, grid: tuple[int, int]) -> Tensor:
        """The refined tokens [B, n, hidden] of the picture that is drawn."""
        tokens = self.x_embedder(self._patches(picture))
        return self._refine(self.noise_refiner, tokens, level, grid)

    def _reference(self, picture: Tensor, number: int, level: Tensor, grid: tuple[int, int]) -> Tensor:
        raise NotImplementedError

    def _refine(self, blocks: nn.ModuleList, tokens: Tensor, level: Tensor, grid: tuple[int, int]) -> Tensor:
        # One picture looks at itself only, so where it stands on the first axis makes no difference here.
        turns = self._turns(grid_places(0, *grid).to(tokens.device)[None].expand(len(tokens), -1, -1))
        for block in blocks:
            tokens = block(tokens, None, turns, level)
        return tokens

    def _grid(self, picture: Tensor) -> tuple[int, int]:
        return picture.shape[2] // self.config.patch_size, picture.shape[3] // self.config.patch_size

    def _patches(self, picture: Tensor) -> Tensor:
        patch = {"p": self.config.patch_size, "q": self.config.patch_size}
        return rearrange(picture, "b c (h p) (w q) -> b (h w) (p q c)", **patch)

    def _turns(self, places: Tensor) -> Tensor:
        """Rotations [B, L, head / 2] (complex) of rope places [B, L, 3]: each axis turns its own share of a head."""
        angles = []
        for axis, width in enumerate(self.config.axes_dim_rope):
            speed = ROPE_BASE ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
            angles.append(places[..., axis, None].double() * speed.to(places.device))
        angle = torch.cat(angles, -1)
        return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)

    def _picture_places(self, grids: Sequence[tuple[int, int]]) -> Tensor:
        """Rope places [n, 3] of all pictures' tokens, counted from the end of the words: each begins after the longer side of the last."""
        places, at = [], 0
        for rows, columns in grids:
            places.append(grid_places(at, rows, columns))
            at += max(rows, columns)
        return torch.cat(places)

    @staticmethod
    def _stops(lengths: Sequence[int], grids: Sequence[tuple[int, int]]) -> list[int]:
        cells = sum(rows * columns for rows, columns in grids)
        return [length + cells for length in lengths]

    @staticmethod
    def _join(
        text: Tensor, tokens: Tensor, words: Tensor, cells: Tensor, lengths: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Each row's valid words and then its picture tokens, padded at the end: states, rope places, and the mask where rows differ."""
        longest = max(lengths) + tokens.shape[1]
        joint = tokens.new_zeros(len(tokens), longest, tokens.shape[2])
        places = cells.new_zeros(len(tokens), longest, 3)
        valid = torch.zeros(len(tokens), longest, dtype=torch.bool, device=tokens.device)
        shift = torch.tensor([1, 0, 0], device=cells.device)
        for row, length in enumerate(lengths):
            stop = length + tokens.shape[1]
            joint[row, :stop] = torch.cat([text[row, :length].to(tokens.dtype), tokens[row]])
            places[row, :stop] = torch.cat([words[:length], cells + length * shift])
            valid[row, :stop] = True
        return joint, places, valid if len(set(lengths)) > 1 else None


class SeqLumina(Lumina):
    """The published variant: the source stands below the noisy picture, and a small network of its own reads it."""

    def __init__(self, config: LuminaConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.ori_inp_refiner = nn.Sequential(nn.Linear(width, width), nn.GELU(approximate="tanh"), nn.Linear(width, width, bias=False))

    def _word_places(self, count: int) -> Tensor:
        return torch.stack([torch.arange(count), torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)], -1)

    def _main(self, picture: Tensor, level: Tensor, grid: tuple[int, int]) -> Tensor:
        top, below = super()._main(picture, level, grid).chunk(2, 1)
        return torch.cat([top, self.ori_inp_refiner(below)], 1)


class RefLumina(Lumina):
    """The alternative variant: sources are pictures of their own, up to ``config.references`` of them."""

    def __init__(self, config: LuminaConfig) -> None:
        super().__init__(config)
        self.ref_image_patch_embedder = nn.Linear(self.x_embedder.in_features, config.hidden_size)
        self.ref_image_refiner = self._blocks(config.num_refiner_layers, modulation=True)
        self.image_index_embedding = nn.Parameter(torch.randn(config.references, config.hidden_size))

    def _word_places(self, count: int) -> Tensor:
        return repeat(torch.arange(count), "n -> n three", three=3)

    def _reference(self, picture: Tensor, number: int, level: Tensor, grid: tuple[int, int]) -> Tensor:
        tokens = self.ref_image_patch_embedder(self._patches(picture)) + self.image_index_embedding[number]
        return self._refine(self.ref_image_refiner, tokens, level, grid)


class PlainLumina(Lumina):
    """One picture after the words, and nothing beside it."""

    def _word_places(self, count: int) -> Tensor:
        return repeat(torch.arange(count), "n -> n three", three=3)


def grid_places(first: int, rows: int, columns: int) -> Tensor:
    """Rope places [rows * columns, 3] of one picture's tokens: the same on the first axis, then row and column."""
    axes = torch.meshgrid(torch.tensor([first]), torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([axis.flatten() for axis in axes], -1)


VARIANTS: dict[str, type[Lumina]] = {"seq": SeqLumina, "ref": RefLumina, "plain": PlainLumina}
