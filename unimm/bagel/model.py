"""BAGEL's network: what turns words, pictures and noise into rows of the decoder, and rows into words and velocities.

Module names are the published keys (fact sheet: bagel, sections 4 to 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image as PILImage
from torch import Tensor, nn

from unimm.bagel.autoencoder import Autoencoder
from unimm.bagel.config import BagelConfig
from unimm.bagel.context import Context, Workspace
from unimm.bagel.mot import MotLanguageModel, Query, Rows
from unimm.bagel.pictures import Grid, fold, places, to_pixels
from unimm.bagel.vision import VisionMlp, VisionTransformer

WAVES = 256
"""Width of the sinusoid that a time becomes."""


class TimeEmbedder(nn.Module):
    """Times in 0..1, used as they are, to rows [n, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(self.waves(t).to(self.mlp[0].weight.dtype))

    @staticmethod
    def waves(t: Tensor) -> Tensor:
        """Cosines, then sines, of times [n] at falling frequencies, [n, 256]."""
        half = WAVES // 2
        frequencies = 10000.0 ** (-torch.arange(half, device=t.device, dtype=torch.float32) / half)
        angles = t.float()[:, None] * frequencies
        return torch.cat([angles.cos(), angles.sin()], -1)


class PlaceTable(nn.Module):
    """A frozen table of places [side * side, width]."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(side * side, width), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.pos_embed[ids]


@dataclass(frozen=True)
class Marks:
    """Ids of the tokens around texts and pictures."""

    text_begin: int
    text_end: int
    image_begin: int
    image_end: int


@dataclass(frozen=True)
class Fed:
    """One token of a text being written: its id, its rope position, the logits [vocabulary] behind it, and what follows."""

    token: int
    position: int
    logits: Tensor
    following: int


class Bagel(nn.Module):
    """Everything of ``ema.safetensors``; the autoencoder comes beside it."""

    def __init__(self, config: BagelConfig) -> None:
        super().__init__()
        self.config = config
        width, vision = config.language.hidden_size, config.vision
        self.language_model = MotLanguageModel(config.language)
        self.vit_model = nn.ModuleDict({"vision_model": VisionTransformer(vision, config.patch_side)})
        self.connector = VisionMlp(vision.hidden_size, width, width)
        self.vit_pos_embed = PlaceTable(config.patch_side, width)
        self.latent_pos_embed = PlaceTable(config.latent_side, width)
        self.time_embedder = TimeEmbedder(width)
        self.vae2llm, self.llm2vae = nn.Linear(config.latent_width, width), nn.Linear(width, config.latent_width)

    @property
    def device(self) -> torch.device:
        return self.vae2llm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.vae2llm.weight.dtype

    def words(self, ids: Sequence[int]) -> Tensor:
        """Rows [n, width] of word ids."""
        return self.language_model.model.embed_tokens(torch.tensor(ids, device=self.device))

    def seen(self, patches: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The tower's features [n, vision width] of patches at places ``ids``, and the connector's rows [n, width] before their places."""
        features = self.vit_model["vision_model"](patches.to(self.device, self.dtype), ids.to(self.device))
        return features, self.connector(features)

    def latent_rows(self, tokens: Tensor, t: float, ids: Tensor) -> Tensor:
        """Rows [n, width] of latent tokens at time ``t`` (0 is clean) and places ``ids``."""
        time = self.time_embedder(torch.tensor([t], device=self.device))
        return self.vae2llm(tokens.to(self.device, self.dtype)) + time + self.latent_pos_embed(ids.to(self.device))

    def velocity(self, rows: Tensor) -> Tensor:
        """Velocity [n, latent width] in fp32 from the last layer's latent rows."""
        return self.llm2vae(self.language_model.model.norm_moe_gen(rows)).float()

    def logits(self, rows: Tensor) -> Tensor:
        """Word logits in fp32 of the last layer's rows of the understanding expert."""
        return self.language_model.lm_head(self.language_model.model.norm(rows)).float()

    def workspace(self, context: Context, room: int) -> Workspace:
        """Private room behind a context."""
        return Workspace(context, room, self.language_model.empty())

    def read(self, context: Context, rows: Rows, text: bool, key: str = "") -> tuple[Context, Rows]:
        """Read one segment: a text (causal, a position a token) or a picture with its marks (full, one position).

        Returns the longer context, named ``key``, and the last layer's rows.
        """
        count = sum(len(part) for part in rows.values())
        steps = torch.arange(count, device=self.device) if text else torch.zeros(count, dtype=torch.long, device=self.device)
        space = self.workspace(context, count)
        gen = slice(0, len(rows["gen"])) if "gen" in rows else None
        query = Query(space, context.rope + steps, slice(0, len(rows["und"])), gen, causal=text)
        out = self.language_model(rows, [query])
        return context.with_piece(space.written(count), count if text else 1, key), out

    def read_words(self, context: Context, ids: Sequence[int], key: str = "") -> tuple[Context, Rows]:
        """Read a text with its marks."""
        return self.read(context, {"und": self.words(ids)}, True, key)

    def read_patches(self, context: Context, patches: Tensor, grid: Grid, marks: Marks, key: str = "") -> tuple[Context, Rows]:
        """Read a picture's vision patches [n, patch * patch * 3]."""
        ids = places(grid, self.config.patch_side)
        rows = self.seen(patches, ids)[1] + self.vit_pos_embed(ids.to(self.device))
        border = self.words([marks.image_begin, marks.image_end])
        return self.read(context, {"und": torch.cat([border[:1], rows, border[1:]])}, False, key)

    def read_latents(self, context: Context, tokens: Tensor, grid: Grid, marks: Marks, key: str = "") -> tuple[Context, Rows]:
        """Read a picture's clean latent tokens [n, latent width]."""
        rows = self.latent_rows(tokens, 0.0, places(grid, self.config.latent_side))
        return self.read(context, {"und": self.words([marks.image_begin, marks.image_end]), "gen": rows}, False, key)

    def write(self, context: Context, begin: int, pick: Callable[[Tensor], int], limit: int) -> Iterator[Fed]:
        """Feed ``begin`` and then what ``pick`` takes from the logits, ``limit`` tokens at most; the caller stops earlier.

        The context is not touched: a text that shall stay is read again as a segment.
        """
        space, token = self.workspace(context, limit), begin
        for step in range(limit):
            with torch.inference_mode():
                position = torch.tensor([context.rope + step], device=self.device)
                out = self.language_model({"und": self.words([token])}, [Query(space, position, slice(0, 1))])
                space.advance(1)
                logits = self.logits(out["und"])[0]
                following = pick(logits)
            yield Fed(token, context.rope + step, logits, following)
            token = following


def vision_patches(config: BagelConfig, picture: PILImage.Image) -> tuple[Tensor, Grid]:
    """The patches that the tower reads of a picture which went through the autoencoder's rule already, and their grid."""
    patch, pixels = config.vision.patch_size, to_pixels(config.vit_rule.apply(picture))
    return fold(pixels, patch), (pixels.shape[1] // patch, pixels.shape[2] // patch)


def latent_grid(config: BagelConfig, height: int, width: int) -> Grid:
    """Rows and columns of latent tokens of a picture."""
    return height // config.token_pixels, width // config.token_pixels


def latent_noise(config: BagelConfig, height: int, width: int, generator: torch.Generator) -> Tensor:
    """The standard normal noise [1, z, h, w] with which a context picture is encoded, drawn on the CPU."""
    size = config.autoencoder
    return torch.randn(1, size.z_channels, height // size.factor, width // size.factor, generator=generator)


def encode(autoencoder: Autoencoder, pixels: Tensor, noise: Tensor) -> Tensor:
    """Model latents [1, z, h, w] of pixels [3, H, W], in the autoencoder's own dtype."""
    like = autoencoder.encoder.conv_in.weight
    return autoencoder.latent(pixels[None].to(like), noise.to(like))
