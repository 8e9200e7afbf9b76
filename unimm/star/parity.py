"""STAR's parity checks: one function per case of a golden folder; sizes and settings come from the folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import PIL
import torch
from einops import rearrange, repeat
from PIL import Image as PILImage
from torch import Tensor

from unimm.model import Options
from unimm.parity import EXACT, Case, Check, Golden, Suite, registrar
from unimm.sampling import filter_logits, guided, sample
from unimm.star import checkpoint, parity_decoder, processor, released, schedule
from unimm.star.config import StarConfig
from unimm.star.line_canvas import LineCanvas
from unimm.star.model import Star
from unimm.star.parity_decoder import DecoderParts
from unimm.star.processor import Grid, SpecialIds, Template, VisionSizes
from unimm.star.reading import Reading, say
from unimm.star.released import Caches, line
from unimm.star.vq import to_uint8

GREEDY = Options(temperature=0)
PROBABILITY = 1e-6
SCHEDULE = 1e-5
ROUNDING = 1e-6
GREY_LEVEL = 2 / 255 + ROUNDING
"""One level of difference, as a VQ input sees it: what another Pillow's resampling may give."""
GREY_LEVEL_VISION = 1 / 255 / min(processor.CLIP_STD) + ROUNDING


@dataclass
class Shared:
    """What STAR's checks share: the row of the folder's config, its special ids and, once asked for, its weights."""

    golden: Golden

    @cached_property
    def config(self) -> StarConfig:
        # Reference numbers are fp32 throughout; the rounding of the rotary frequencies has a case of its own.
        return replace(checkpoint.read_release(self.golden.config), bf16_rope=False)

    @cached_property
    def special(self) -> SpecialIds:
        return checkpoint.release_specials(self.golden.config)

    @cached_property
    def model(self) -> Star:
        return self._load(self.config)

    @cached_property
    def diffusion(self) -> DecoderParts:
        return DecoderParts(self.golden)

    @cached_property
    def model_bf16_rope(self) -> Star:
        return self._load(replace(self.config, bf16_rope=True))

    def _load(self, config: StarConfig) -> Star:
        return released.build(config, checkpoint.read_state(self.golden.folder), dtype=torch.float32)

    @cached_property
    def sizes(self) -> VisionSizes:
        vision = self.config.base["vision_config"]
        return VisionSizes(vision["patch_size"], vision["spatial_merge_size"], vision["temporal_patch_size"])

    def patches(self, source: PILImage.Image) -> tuple[Tensor, Grid]:
        """What the vision tower reads of a picture, under the folder's limits."""
        limits = self.golden.config["tiny"]["run_args"]
        return processor.vision_patches(source, limits["min_pixels"], limits["max_pixels"], self.sizes)

    @property
    def same_pillow(self) -> bool:
        """Only the Pillow that made the pictures is sure to resample to the same bytes."""
        return _same_minor(self.golden.produced_with.get("pillow", ""), PIL.__version__)

    @property
    def same_torch(self) -> bool:
        """Seeded draws are only promised to repeat within one version of torch."""
        return _same_minor(self.golden.produced_with.get("torch", ""), torch.__version__)

    def picture_tolerance(self, other: float = GREY_LEVEL) -> float:
        return ROUNDING if self.same_pillow else other


def _same_minor(one: str, other: str) -> bool:
    return one.split(".")[:2] == other.split(".")[:2]


CHECKS: dict[str, Check] = {}
check = registrar(CHECKS)




def picture(pixels: Tensor) -> PILImage.Image:
    return PILImage.fromarray(pixels.numpy())


def grids_of(rows: Tensor) -> list[Grid]:
    return [tuple(row) for row in rows.tolist()]


def pairs(rows: Tensor, special: SpecialIds) -> Tensor:
    """Guidance rows made anew from the conditional ones among ``rows`` (the even ones)."""
    return torch.cat([processor.guidance_rows(row, special) for row in rows[::2].tolist()])


@check("vq")
def _vq(shared: Shared, case: Case) -> None:
    vq, pixels = shared.model.pixel_encoder, case["pixels"]
    names = sorted(name for name in case.tensors if re.fullmatch(r"image_uint8_\d+", name))
    if len(names) == len(pixels):
        made = torch.stack([processor.vq_pixels(picture(case[name]), pixels.shape[-1]) for name in names])
        case.compare("pixels", made, shared.picture_tolerance())
    latents = vq.pre_quant(pixels)
    case.compare("pre_quant", latents)
    case.compare("indices", vq.encode(pixels))
    case.compare("quant", rearrange(vq.codes(case["indices"]), "b (h w) c -> b c h w", h=latents.shape[2]))
    case.compare("decoded_from_quant", vq.decode_codes(case["quant"][: len(case["decoded_from_quant"])]))
    case.compare("codes_embed", vq.codes(case["codes"]))
    decoded = vq.decode(case["codes"], vq.grid(case["codes_decoded"]))
    case.compare("codes_decoded", decoded)
    case.compare("codes_decoded_uint8", to_uint8(decoded), 1)


def _teacher_forced(model: Star, rows: Tensor, forced: Tensor) -> tuple[Tensor, Tensor]:
    """Adapter outputs of the forced ids, and head logits [row, step, code] read before each of them."""
    fed = model.drawn(repeat(forced[:, :-1], "b n -> (b pair) n", pair=2))
    embeds = torch.cat([model.words(rows), fed], 1)
    logits, caches = [], Caches()
    for start, stop in [(0, rows.shape[1]), *((i, i + 1) for i in range(rows.shape[1], embeds.shape[1]))]:
        logits.append(released.pixel_logits(model, embeds[:, start:stop], line(start, stop - start), caches)[:, -1])
    return fed, torch.stack(logits, 1)


@check("t2i_tf")
def _t2i_tf(shared: Shared, case: Case) -> None:
    model, rows = shared.model, case["input_ids"]
    case.compare("input_ids", pairs(rows, shared.special))
    prompt = model.words(rows[: len(case["prompt_hidden_base"])])
    positions = line(0, rows.shape[1])
    base = released.base_states(model, prompt, positions)
    case.compare("prompt_hidden_base", base)
    case.compare("prompt_hidden_stacked", released.stack_states(model, base, positions))
    fed, logits = _teacher_forced(model, rows, case["forced_vq_ids"])
    case.compare("vq_input_embeds", fed)
    case.compare("logits_raw", logits)
    case.compare("logits_cfg", guided(logits[::2], logits[1::2], case.parameters["cfg_weight"]))


@check("t2i_tf_bf16_inv_freq")
def _t2i_bf16(shared: Shared, case: Case) -> None:
    plain = case.other("t2i_tf")
    case.compare("logits_raw", _teacher_forced(shared.model_bf16_rope, plain["input_ids"], plain["forced_vq_ids"])[1])


def _draw(shared: Shared, case: Case, embeds: Tensor, positions: Tensor, offset: int = 0) -> Tensor:
    """Draw greedily and compare ids and guided logits; returns the ids [1, n]."""
    options = replace(GREEDY, guidance=case.parameters["cfg_weight"])
    rows = [Reading(shared.model, row[None], positions[:, : embeds.shape[1]], offset) for row in embeds]
    canvas, logits, raw = LineCanvas(rows, case["vq_ids"].shape[1]), [], []
    for _ in canvas.fill(options, torch.Generator()):
        logits.append(canvas.logits)
        raw.append(canvas.raw)
    ids = canvas.ids[None]
    case.compare("vq_ids", ids)
    case.compare("logits_cfg", torch.cat(logits)[None])
    for name in case.tensors:
        if found := re.fullmatch(r"logits_raw_first(\d+)", name):
            case.compare(name, torch.cat(raw, 1)[:, : int(found[1])])
    return ids


@check("t2i_greedy")
def _t2i_greedy(shared: Shared, case: Case) -> None:
    rows = pairs(case["input_ids"], shared.special)
    case.compare("input_ids", rows)
    ids = _draw(shared, case, shared.model.words(rows), line(0, rows.shape[1]))
    side = int(ids.shape[1] ** 0.5)
    case.compare("images", rearrange(shared.model.pixel_encoder.decode(ids, (side, side)), "b c h w -> b h w c"))


@check("reasoning")
def _reasoning(shared: Shared, case: Case) -> None:
    plain, qwen = case.other("t2i_greedy")["input_ids"][0].tolist(), Template()
    template = Template(shared.special, tuple(plain[: len(qwen.head)]), tuple(plain[-len(qwen.tail) - 1 : -1]))
    row = template.reasoning_row(case["answer_ids"].tolist(), case["suffix_ids"].tolist())
    rows = processor.guidance_rows(row, shared.special)
    case.compare("input_ids", rows)
    _draw(shared, case, shared.model.words(rows), line(0, rows.shape[1]))


@check("edit")
def _edit(shared: Shared, case: Case) -> None:
    model, special, source = shared.model, shared.special, case.other("vq")
    patches, grid = shared.patches(picture(source["image_uint8_1"]))
    case.compare("pixel_values", patches, shared.picture_tolerance(GREY_LEVEL_VISION))
    case.compare("image_grid_thw", torch.tensor([grid]))
    vision = released.see(model, case["pixel_values"], grids_of(case["image_grid_thw"]))
    case.compare("vit_embeds", vision)
    ids = model.pixel_encoder.encode(source["pixels"][1:2])
    case.compare("source_vq_ids", ids)

    rows = pairs(case["text_ids"], special)
    case.compare("text_ids", rows)
    at = case.parameters.get("insert_at", len(Template().head))
    inserted = processor.insert_source(rows, at, ids.shape[1], len(vision), special)
    embeds = released.edit_embeds(model, inserted, ids, vision)
    case.compare("inputs_embeds", embeds)
    sequence = inserted.with_drawn(ids.shape[1], special)
    case.compare("rope_input_ids", torch.tensor([sequence]))
    _positions(case, "", sequence, [grid], special, shared.sizes.merge, delta="rope_delta")
    _draw(shared, case, embeds, *processor.rope_positions(sequence, [grid], special, shared.sizes.merge))


def _positions(case: Case, prefix: str, row: list[int], grids: list[Grid], special: SpecialIds, merge: int, delta: str) -> None:
    positions, offset = processor.rope_positions(row, grids, special, merge)
    case.compare(f"{prefix}position_ids", positions[:, None])
    case.compare(f"{prefix}{delta}", torch.tensor([[offset]]))


@check("understand")
def _understand(shared: Shared, case: Case) -> None:
    model, special, ids = shared.model, shared.special, case["input_ids"]
    patches, grid = shared.patches(picture(case["image_uint8"]))
    case.compare("pixel_values", patches, shared.picture_tolerance(GREY_LEVEL_VISION))
    case.compare("image_grid_thw", torch.tensor([grid]))
    grids = grids_of(case["image_grid_thw"])
    vision = released.see(model, case["pixel_values"], grids)
    case.compare("vit_embeds", vision)
    _positions(case, "", ids[0].tolist(), grids, special, shared.sizes.merge, delta="rope_delta")
    positions, offset = processor.rope_positions(ids[0].tolist(), grids, special, shared.sizes.merge)
    embeds = released.picture_embeds(model, ids, vision, special.image_pad)
    case.compare("logits", released.word_logits(model, embeds, positions))
    if "greedy_ids" in case:
        written = say(Reading(model, embeds, positions, offset), case["greedy_ids"].shape[1], GREEDY)
        case.compare("greedy_ids", torch.tensor([[word.id for word in written]]))
    if "text_only_ids" in case:
        words = case["text_only_ids"]
        case.compare("text_only_logits", released.word_logits(model, model.words(words), line(0, words.shape[1])))


@check("filter")
def _filter(shared: Shared, case: Case) -> None:
    for row in case.parameters["cases"]:
        kept = filter_logits(case["logits"], row["top_k"], row["top_p"])
        case.compare(f"out_{row['index']}", kept, EXACT)
        case.compare(f"probs_{row['index']}", kept.softmax(-1), PROBABILITY)
    for name in case.tensors:
        if (found := re.fullmatch(r"sampled_ids_seed(\d+)", name)) and shared.same_torch:
            case.compare(name, torch.stack([_drawn(case, row, int(found[1])) for row in case.parameters["cases"]]))


def _drawn(case: Case, row: dict[str, Any], seed: int) -> Tensor:
    """One draw a row of logits under one filter setting, from a fresh generator."""
    options = Options(temperature=1.0, top_k=row["top_k"], top_p=row["top_p"])
    return sample(case["logits"], options, torch.Generator().manual_seed(seed))


@check("prep")
def _prep(shared: Shared, case: Case) -> None:
    for name in case.tensors:
        if name.endswith("_uint8") and not name.endswith("_upsized_uint8"):
            _prepare(shared, case, name.removesuffix("_uint8"), picture(case[name]))


def _prepare(shared: Shared, case: Case, name: str, source: PILImage.Image) -> None:
    """Every transform of one picture that the folder has: the tensor's name carries side and stride."""
    exact = shared.same_pillow
    case.compare(f"{name}_upsized_uint8", torch.from_numpy(np.array(processor.at_least_min_side(source))), EXACT if exact else 1)
    if f"{name}_pixel_values" in case:
        patches, grid = shared.patches(source)
        case.compare(f"{name}_pixel_values", patches, shared.picture_tolerance(GREY_LEVEL_VISION))
        case.compare(f"{name}_grid_thw", torch.tensor([grid]))
    case.compare(f"{name}_vq_pixels", processor.vq_pixels(source, shared.config.picture), shared.picture_tolerance())
    for tensor in case.tensors:
        if found := re.fullmatch(rf"{re.escape(name)}_(?:vq|full)(\d+)_every(\d+)", tensor):
            side, stride = int(found[1]), int(found[2])
            case.compare(tensor, processor.vq_pixels(source, side)[:, ::stride, ::stride], shared.picture_tolerance())


@check("rope")
def _rope(shared: Shared, case: Case) -> None:
    for layout in dict.fromkeys(name.split(".")[0] for name in case.tensors):
        grids = grids_of(case[f"{layout}.grid_thw"]) if f"{layout}.grid_thw" in case else []
        _positions(case, f"{layout}.", case[f"{layout}.input_ids"][0].tolist(), grids, SpecialIds(), VisionSizes().merge, delta="delta")


@check("template")
def _template(shared: Shared, case: Case) -> None:
    template = Template()
    words = case["cond_ids"][0, len(template.head) : -len(template.tail) - 1].tolist()
    rows = processor.guidance_rows(template.drawing_row(words), template.special)
    case.compare("cond_ids", rows[:1])
    case.compare("uncond_ids", rows[1:])


@check("schedule")
def _schedule(shared: Shared, case: Case) -> None:
    scheduler: dict[str, Any] = case.golden.config["tiny"]["diffusion_decoder"]["scheduler"]
    for steps in sorted({int(name.rsplit("_", 1)[1]) for name in case.tensors}):
        levels = schedule.sigmas(steps, scheduler["shift"])
        case.compare(f"sigmas_{steps}", levels, SCHEDULE)
        case.compare(f"timesteps_{steps}", schedule.timesteps(levels, scheduler["num_train_timesteps"]), SCHEDULE)


SUITE = Suite(open=Shared, checks=CHECKS | parity_decoder.CHECKS)
