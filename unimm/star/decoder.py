"""STAR's diffusion decoder: VQ codes, words and, when editing, the source picture become a large picture by flow matching.

::

    words --> Gemma-2 (last but one states) --+
    VQ codes --> map at latent size ----------+--> Lumina transformer, up to 4 branches in one batch --> guided velocity
    source --> VAE encoder --> latents -------+                                                              |
    noise ------------------------------------+<----------------------- Euler step --------------------------+
                                                                 last latents --> VAE decoder --> picture

Fact sheet: star, section 9.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from einops import rearrange
from torch import Tensor
from transformers import Gemma2Config, Gemma2Model

from unimm.star.decoder_config import DecoderConfig
from unimm.star.lumina import VARIANTS, Lumina
from unimm.star.schedule import sigmas
from unimm.weights import State, build


class Branch(NamedTuple):
    """What one row of the batch is told; what it is not told is the empty prompt, or zeros."""

    words: bool
    codes: bool
    source: bool


DRAWING = {"none": Branch(False, False, False), "picture": Branch(False, True, False), "full": Branch(True, True, False)}
EDITING = {
    "none": Branch(False, False, False), "picture": Branch(False, False, True), "full": Branch(True, False, True),
    "codes": Branch(True, True, False),
}  # fmt: skip
"""The release's branches: an edit follows the source, and the codes in a branch of their own."""


@dataclass(frozen=True)
class Guidance:
    """How strongly words, the picture's own condition and (editing only) the codes steer; and in how many steps."""

    steps: int
    words: float
    picture: float
    codes: float = 0.0


DRAWN = Guidance(steps=40, words=4.5, picture=1.05)
EDITED = Guidance(steps=50, words=3.0, picture=1.8, codes=1.0)


@dataclass(frozen=True)
class Prompt:
    """Text features [1, L, D] and their mask [1, L]."""

    features: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Refined:
    """One step of ``refine``: the guided velocity, the latents after it, and the clean latents they seem to lead to; all [1, C, H, W]."""

    done: int
    total: int
    velocity: Tensor
    latents: Tensor
    clean: Tensor


class DiffusionDecoder:
    """The three networks and the loop over noise levels. Latents are kept in fp32, networks run in their own dtype."""

    def __init__(self, config: DecoderConfig, transformer: Lumina, vae: AutoencoderKL, text_encoder: Gemma2Model) -> None:
        self.config, self.transformer, self.vae, self.text_encoder = config, transformer, vae, text_encoder

    @classmethod
    def load(
        cls, config: DecoderConfig, state: Mapping[str, Tensor], device: str | torch.device = "cpu", dtype: torch.dtype | None = None,
        quantize: str | None = None,
    ) -> DiffusionDecoder:  # fmt: skip
        """Build from weights named as in the release, without ``diffusion_decoder.``; raises ``MissingWeights`` where they do not fit."""
        gemma = Gemma2Config(**copy.deepcopy(dict(config.text_encoder)))
        if not config.softcap:
            gemma.attn_logit_softcapping = None
        gemma._attn_implementation = "eager"
        makers = {
            "transformer": lambda: VARIANTS[config.transformer.variant](config.transformer),
            "vae": lambda: AutoencoderKL.from_config(dict(config.vae)),
            "text_encoder_one": lambda: Gemma2Model(gemma),
        }
        parts = []
        for name, make in makers.items():
            own: State = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            kind = None if name == "vae" else quantize
            parts.append(build(make, own, f"diffusion decoder's {name}", device, dtype, kind))
        return cls(config, *parts)

    @property
    def device(self) -> torch.device:
        return next(self.transformer.parameters()).device

    @torch.inference_mode()
    def read(self, ids: Tensor, mask: Tensor) -> Prompt:
        """The text encoder's last but one hidden states [B, L, D] of ids [B, L]; only valid positions mean anything."""
        out = self.text_encoder(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), output_hidden_states=True)
        return Prompt(out.hidden_states[-2], mask.to(self.device))

    def code_map(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """Codebook rows [B, n, dim] of a square grid as a map [B, dim, h, w] of latent size."""
        side = int(codes.shape[1] ** 0.5)
        grid = rearrange(codes, "b (h w) c -> b c h w", h=side)
        return F.interpolate(grid, size, mode="bilinear", align_corners=False)

    @torch.inference_mode()
    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [B, C, h, w] of pictures [B, 3, H, W] in [-1, 1]."""
        posterior = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist
        return posterior.mean.float(), posterior.logvar.float()

    def scaled(self, latents: Tensor) -> Tensor:
        return (latents - self.vae.config.shift_factor) * self.vae.config.scaling_factor

    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents of pictures [B, 3, H, W]: a draw from the posterior, or its mean without a generator."""
        mean, logvar = self.posterior(pixels)
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator, device=generator.device)
            mean = mean + (logvar / 2).exp() * noise.to(mean.device)
        return self.scaled(mean)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] of scaled latents [B, C, h, w]."""
        latents = latents / self.vae.config.scaling_factor + self.vae.config.shift_factor
        return (self.vae.decode(latents.to(self.vae.dtype)).sample.float() / 2 + 0.5).clamp(0, 1)

    def noise(self, generator: torch.Generator) -> Tensor:
        """Starting latents [1, C, h, w] of the configured resolution."""
        side = self.config.resolution // self.config.factor
        shape = (1, self.config.transformer.latent_channels, side, side)
        return torch.randn(shape, generator=generator, device=generator.device).to(self.device)

    @torch.inference_mode()
    def step(self, latents: Tensor, at: int, levels: Tensor, prompts: Mapping[bool, Prompt], codes: Tensor, source: Tensor | None,
             guidance: Guidance) -> Refined:  # fmt: skip
        """One Euler step from ``levels[at]`` to the next level; see ``refine``."""
        now, after, last = float(levels[at]), float(levels[at + 1]), at + 2 == len(levels)
        branches = DRAWING if source is None else EDITING
        uses_codes = "codes" in branches and float(codes.float().mean()) != 0
        wanted = [name for name in branches if (name == "full" or not last or (name == "none" and uses_codes))
                  and (name != "codes")]  # fmt: skip
        wanted += ["codes"] if uses_codes else []
        made = dict(zip(wanted, self._velocities([branches[name] for name in wanted], latents, 1 - now, prompts, codes, source),
                        strict=True))  # fmt: skip
        velocity = made["full"] if last else (
            made["none"] + guidance.words * (made["full"] - made["picture"]) + guidance.picture * (made["picture"] - made["none"])
        )  # fmt: skip
        if uses_codes:
            velocity = velocity + guidance.codes * (made["codes"] - made["none"])
        return Refined(at + 1, len(levels) - 1, velocity, latents + (now - after) * velocity, latents + now * velocity)

    def refine(self, latents: Tensor, prompts: Mapping[bool, Prompt], codes: Tensor, source: Tensor | None, guidance: Guidance,
               ) -> Iterator[Refined]:  # fmt: skip
        """Remove the noise of latents [1, C, h, w], a step at a time; closing the iterator stops the work.

        ``prompts`` holds the words under True and the empty prompt under False, ``codes`` [1, dim, h, w] the map, ``source`` the
        scaled latents of the picture that is edited. Every step is guided but the last, which follows its full condition.
        """
        levels = sigmas(guidance.steps, self.config.shift)
        latents = latents.float()
        for at in range(guidance.steps):
            refined = self.step(latents, at, levels, prompts, codes, source, guidance)
            latents = refined.latents
            yield refined

    def _velocities(self, branches: list[Branch], latents: Tensor, time: float, prompts: Mapping[bool, Prompt], codes: Tensor,
                    source: Tensor | None) -> Tensor:  # fmt: skip
        """The branches' velocities [n, 1, C, h, w], in one batch."""
        dtype, n = self.transformer.x_embedder.bias.dtype, len(branches)
        text, mask = _stacked([prompts[branch.words] for branch in branches])
        maps = torch.cat([codes if branch.codes else torch.zeros_like(codes) for branch in branches])
        nothing = torch.zeros_like(latents)
        sources = torch.cat([source if branch.source and source is not None else nothing for branch in branches])
        noisy = torch.cat([latents.expand(n, -1, -1, -1), maps.to(latents)], 1)
        beside = torch.cat([sources.to(latents), maps.to(latents)], 1)
        times = torch.full((n,), time, device=latents.device)
        if self.config.transformer.variant == "seq":
            tall = self.transformer(torch.cat([noisy, beside], 2).to(dtype), times, text.to(dtype), mask)
            out = tall[:, :, : latents.shape[2]]
        else:
            references = [beside.to(dtype)] if source is not None else []
            out = self.transformer(noisy.to(dtype), times, text.to(dtype), mask, references)
        return out.float()[:, None]


def _stacked(prompts: list[Prompt]) -> tuple[Tensor, Tensor]:
    """Features and masks of several prompts as one batch, padded at the end."""
    longest = max(prompt.mask.shape[1] for prompt in prompts)
    pad = [longest - prompt.mask.shape[1] for prompt in prompts]
    features = torch.cat([F.pad(prompt.features, (0, 0, 0, extra)) for prompt, extra in zip(prompts, pad, strict=True)])
    return features, torch.cat([F.pad(prompt.mask, (0, extra)) for prompt, extra in zip(prompts, pad, strict=True)])


def with_defaults(guidance: Guidance, steps: int, words: float, picture: float) -> Guidance:
    """A published setting with what is not 0 put in its place."""
    return replace(guidance, steps=steps or guidance.steps, words=words or guidance.words, picture=picture or guidance.picture)
