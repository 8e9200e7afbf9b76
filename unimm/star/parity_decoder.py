"""Parity checks of the diffusion decoder: one function per case, as in ``parity``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unimm.parity import Case, Check, Golden
from unimm.star import checkpoint
from unimm.star.decoder import DiffusionDecoder, Guidance, Prompt
from unimm.star.decoder_config import DecoderConfig, read_decoder, read_lumina
from unimm.star.lumina import VARIANTS, Lumina
from unimm.star.schedule import sigmas, timesteps
from unimm.weights import State, build, read_state

WHOLE_LOOP = 3e-4
"""Errors of all steps of a denoising loop add up."""


@dataclass
class DecoderParts:
    """The decoder of a golden folder, and its variants that a case of their own asks for."""

    golden: Golden

    @cached_property
    def state(self) -> State:
        return read_state(self.golden.folder)

    @cached_property
    def config(self) -> DecoderConfig:
        return read_decoder(self.golden.config)

    @cached_property
    def decoder(self) -> DiffusionDecoder:
        return self._load(self.config)

    @cached_property
    def capped(self) -> DiffusionDecoder:
        return self._load(replace(self.config, softcap=True))

    def _load(self, config: DecoderConfig) -> DiffusionDecoder:
        return DiffusionDecoder.load(config, checkpoint.decoder_part(self.state), dtype=torch.float32)

    def reference_transformer(self) -> Lumina:
        """The alternative transformer, whose weights lie under a prefix that no release has."""
        prefix = "diffusion_decoder_ref_variant.transformer."
        own = {key.removeprefix(prefix): value for key, value in self.state.items() if key.startswith(prefix)}
        row = read_lumina(self.golden.config["tiny"]["diffusion_decoder"]["ref_variant_transformer"], "ref", self.config.transformer.vq_dim)
        return build(lambda: VARIANTS["ref"](row), own, "reference transformer", dtype=torch.float32)


CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Register the check of a case and run it without gradients."""

    def add(function: Check) -> Check:
        CHECKS[name] = torch.inference_mode()(lambda shared, case: function(shared.diffusion, case))
        return function

    return add


def tall(top: Tensor, bottom: Tensor, codes: Tensor) -> Tensor:
    """The transformer's input: the noisy picture over the source, both with the map of codes behind their channels."""
    return torch.cat([torch.cat([top, codes], 1), torch.cat([bottom, codes], 1)], 2)


@check("dit")
def _dit(parts: DecoderParts, case: Case) -> None:
    transformer = parts.decoder.transformer
    latents, source, codes, text = (case[name] for name in ("latents", "source_latents", "vq_map", "encoder_hidden_states"))
    time, mask, empty = case["timestep"], case["encoder_attention_mask"], torch.zeros_like(latents)
    case.compare("t2i_out", transformer(tall(latents, empty, codes), time, text, mask))
    case.compare("both_out", transformer(tall(latents, source, codes), time, text, mask))
    case.compare("edit_source_out", transformer(tall(latents, source, torch.zeros_like(codes)), time, text, mask))
    if "equal_len_out" in case:
        case.compare("equal_len_out", transformer(tall(latents, source, codes), time, text, case["equal_len_mask"]))


@check("dit_ref_variant")
def _dit_ref(parts: DecoderParts, case: Case) -> None:
    plain, transformer = case.other("dit"), parts.reference_transformer()
    noisy, beside = (torch.cat([plain[name], plain["vq_map"]], 1) for name in ("latents", "source_latents"))
    out = transformer(noisy, plain["timestep"], plain["encoder_hidden_states"], plain["encoder_attention_mask"], [beside])
    case.compare("out", out)


@check("text_encoder")
def _text_encoder(parts: DecoderParts, case: Case) -> None:
    mask = case["attention_mask"]
    for tensor, decoder in (("prompt_embeds_no_softcap", "decoder"), ("prompt_embeds_softcap", "capped")):
        if tensor in case:
            features = getattr(parts, decoder).read(case["input_ids"], mask).features
            case.compare(tensor, torch.where(mask[..., None].bool(), features, case[tensor]))  # padding means nothing


def _source(case: Case, row: int, size: tuple[int, int]) -> Tensor:
    """A picture of the folder, resized to the diffusion decoder's resolution."""
    return F.interpolate(case.other("vq")["pixels"][row : row + 1], size, mode="bilinear", align_corners=False)


@check("vae")
def _vae(parts: DecoderParts, case: Case) -> None:
    decoder, factor = parts.decoder, parts.config.factor
    size = tuple(side * factor for side in case["posterior_mean"].shape[2:])
    mean, logvar = decoder.posterior(_source(case, 0, size))
    case.compare("posterior_mean", mean)
    case.compare("posterior_logvar", logvar)
    case.compare("scaled_latents_from_mean", decoder.scaled(mean))


def _code_map(shared: Any, inputs: Case) -> Tensor:
    return shared.decoder.code_map(shared.codes(inputs["vq_ids"]), tuple(inputs["init_latents"].shape[2:]))


def _pipe(shared: Any, case: Case) -> None:
    case.compare("vq_map", _code_map(_Codes(shared), case))
    for name in ("init_latents", "prompt_embeds", "prompt_mask", "negative_embeds", "negative_mask"):
        _ = case[name]  # inputs of the loops below


@dataclass
class _Codes:
    """The decoder beside the codebook it is fed from."""

    shared: Any

    @property
    def decoder(self) -> DiffusionDecoder:
        return self.shared.diffusion.decoder

    def codes(self, ids: Tensor) -> Tensor:
        return self.shared.model.pixel_encoder.codes(ids)


def _loop(shared: Any, case: Case, source: Tensor | None) -> Tensor:
    """Run the whole loop with the given features and noise, compare every step, and return the last latents."""
    decoder, inputs, settings = shared.diffusion.decoder, case.other("pipe"), case.parameters
    prompts = {words: Prompt(inputs[f"{name}_embeds"], inputs[f"{name}_mask"]) for words, name in ((True, "prompt"), (False, "negative"))}
    guidance = Guidance(settings["num_inference_steps"], settings["guidance_scale"], settings["img_guidance_scale"],
                        settings.get("vq_guidance_scale", 0.0))  # fmt: skip
    steps = list(decoder.refine(inputs["init_latents"], prompts, _code_map(_Codes(shared), inputs), source, guidance))
    levels = sigmas(guidance.steps, decoder.config.shift)
    case.compare("sigmas", levels)
    case.compare("timesteps", timesteps(levels, decoder.config.train_steps), 1e-3 * case.golden.tolerance * decoder.config.train_steps)
    case.compare("guided_prediction_per_step", torch.stack([step.velocity for step in steps]), WHOLE_LOOP)
    case.compare("latents_per_step", torch.stack([step.latents for step in steps]), WHOLE_LOOP)
    return steps[-1].latents


def _pipe_t2i(shared: Any, case: Case) -> None:
    latents = _loop(shared, case, None)
    case.compare("image", shared.diffusion.decoder.decode(latents), WHOLE_LOOP)


def _pipe_edit(shared: Any, case: Case) -> None:
    decoder, settings = shared.diffusion.decoder, case.parameters
    source = decoder.encode(_source(case, 1, (settings["height"], settings["width"])))
    case.compare("source_latents", source)
    _loop(shared, case, source)


CHECKS |= {name: torch.inference_mode()(run) for name, run in (("pipe", _pipe), ("pipe_t2i", _pipe_t2i), ("pipe_edit", _pipe_edit))}
