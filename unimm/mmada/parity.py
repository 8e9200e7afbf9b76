"""MMaDA's parity checks: one function per group of a golden folder; sizes and settings come from the folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from PIL import Image as PILImage
from torch import Tensor

from unimm.mmada import backbone as bb
from unimm.mmada import parity_decoding as parity_decoding  # its import registers the checks of the loops
from unimm.mmada import schedule, train
from unimm.mmada.config import SpecialIds
from unimm.mmada.parity_shared import GROUPS, LOGITS, PIXELS, RESIZED, SCHEDULE, Shared, check, stack
from unimm.mmada.pictures import FITS, to_pixels, to_uint8
from unimm.mmada.prompts import Layout
from unimm.parity import EXACT, Case, Check, Suite


class ByGroup(Mapping[str, Check]):
    """Checks by case name: the longest group that a name begins with knows it, so other folders may name other cases."""

    def __getitem__(self, name: str) -> Check:
        parts = name.split("/")
        for end in range(len(parts), 0, -1):
            if "/".join(parts[:end]) in GROUPS:
                return GROUPS["/".join(parts[:end])]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(GROUPS)

    def __len__(self) -> int:
        return len(GROUPS)


@check("vq")
def _vq(shared: Shared, case: Case) -> None:
    vq, smallest = shared.vq, case.parameters.get("min_abs_latent", 1.0)
    latent = vq.latent(case["pixel_values"])
    case.compare("latent", latent, min(PIXELS, smallest))
    indices = vq.encode(case["pixel_values"])
    grid = tuple(latent.shape[-2:])
    case.compare("indices", indices)
    case.compare("quantized", vq.quantize.vectors(indices, grid), EXACT)
    case.compare("recon", vq.decode(case["indices"], grid), PIXELS)
    if "rect_pixel_values" in case:
        rect = vq.encode(case["rect_pixel_values"])
        case.compare("rect_indices", rect)
        high, wide = (side // vq.config.factor for side in case["rect_pixel_values"].shape[-2:])
        case.compare("rect_recon", vq.decode(rect, (high, wide)), PIXELS)
    if "random_codes" in case:
        decoded = vq.decode(case["random_codes"])
        case.compare("random_decoded", decoded, PIXELS)
        case.compare("random_decoded_uint8", to_uint8(decoded), 1)
    if "codebook_rows" in case:
        half = 2**vq.config.bits // 2
        rows = vq.quantize.vectors(torch.tensor([[0, 1, 2, half, 2 * half - 1, 5]]), (1, 6))
        case.compare("codebook_rows", rows[:, :, 0, :].reshape(case["codebook_rows"].shape), EXACT)


@check("image")
def _image(shared: Shared, case: Case) -> None:
    picture = PILImage.fromarray(case["input_uint8"].numpy())
    ways = {"center_crop": "crop", "squash": "squash", "pad": "pad"}
    for tensor in case.tensors:
        if found := re.fullmatch(r"(center_crop|squash|pad)_(\d+)", tensor):
            case.compare(tensor, to_pixels(FITS[ways[found[1]]](picture, int(found[2]))), RESIZED)


@check("backbone")
def _backbone(shared: Shared, case: Case) -> None:
    model, ids, mask = shared.backbone, case["input_ids"], case["attention_mask"]
    states: list[Tensor] = []
    case.compare("logits_nomask", model.logits(model(ids, states=states)), LOGITS)
    case.compare("hidden_states", torch.stack(states), LOGITS)
    biases = {
        "logits_bool_bias": bb.key_bias(mask), "logits_float_bias": bb.training_bias(mask),
        "logits_2d_mask_causal_quirk": bb.causal_bias(mask), "logits_2d_mask_all_ones": bb.causal_bias(torch.ones_like(mask)),
    }  # fmt: skip
    for tensor, bias in biases.items():
        if tensor in case:
            logits = model.logits(model(ids, bias))
            if tensor in case.parameters.get("compare_only_valid", ()):
                logits = torch.where(mask[..., None] == 1, logits, case[tensor])
            case.compare(tensor, logits, LOGITS)


@check("sched")
def _sched(shared: Shared, case: Case) -> None:
    name = case.name.rpartition("/")[2]
    for tensor in case.tensors:
        if found := re.fullmatch(r"steps(\d+)", tensor):
            case.compare(tensor, schedule.transfer_counts(torch.tensor(case.parameters["mask_counts"]), int(found[1])))
        elif found := re.fullmatch(r"T(\d+)", tensor):
            steps = int(found[1])
            case.compare(tensor, torch.stack([schedule.share_after(name, step, steps) for step in range(steps)]), SCHEDULE)
        elif found := re.fullmatch(r"T(\d+)_N(\d+)_mask_len", tensor):
            case.compare(tensor, masked_after(name, int(found[1]), int(found[2])))


def masked_after(name: str, steps: int, slots: int) -> Tensor:
    """How many of ``slots`` wait after every step, where all did at the start."""
    unknown, after = torch.tensor([slots]), []
    for step in range(steps):
        unknown = schedule.still_masked(schedule.share_after(name, step, steps), slots, unknown)
        after.append(unknown)
    return torch.cat(after)


@check("layout")
def _layout(shared: Shared, case: Case) -> None:
    special = SpecialIds.from_names(case.parameters["special"])
    layout, slots = Layout(special, case.parameters["max_text_len"]), case.parameters["num_image_tokens"]
    texts = case.parameters["stub_tokenizer"]
    words, chats, plain = ([texts[name] for name in case.parameters[f"{kind}_texts"]] for kind in ("t2i", "mmu", "lm"))

    drawing = [layout.drawing(one, [special.mask] * slots) for one in words]
    case.compare("t2i_gen_ids", stack(drawing, "ids"))
    case.compare("t2i_gen_mask", stack(drawing, "mask"))
    noised, labels = case["t2i_train_image_in"].tolist(), case["t2i_train_label_in"].tolist()
    lessons = [layout.drawing(*row) for row in zip(words, noised, labels, strict=True)]
    case.compare("t2i_train_ids", stack(lessons, "ids"))
    case.compare("t2i_train_mask", stack(lessons, "mask"))
    case.compare("t2i_train_labels", stack(lessons, "labels"))
    if "t2i_train_dropped_ids" in case:
        count = len(case["t2i_train_dropped_ids"])
        dropped = [layout.drawing_dropped(*row) for row in zip(noised[:count], labels[:count], strict=True)]
        case.compare("t2i_train_dropped_ids", stack(dropped, "ids"))
        case.compare("t2i_train_dropped_mask", stack(dropped, "mask"))

    images = case["mmu_image_ids"].tolist()
    looking = [layout.looking_lesson(*row) for row in zip(chats, images, strict=True)]
    case.compare("mmu_train_ids", stack(looking, "ids"))
    case.compare("mmu_train_prompt_mask", stack(looking, "prompt"))
    case.compare("mmu_train_labels", stack(looking, "labels"))
    thinking = [layout.thinking_lesson(*row) for row in zip(chats, images, strict=True)]
    case.compare("r2i_ids", stack(thinking, "ids"))
    case.compare("r2i_prompt_mask", stack(thinking, "prompt"))
    case.compare("mmu_infer_ids", torch.tensor([layout.looking(chats[0], images[0])]))

    said = [layout.words_lesson(one, case.parameters["lm_len"]) for one in plain]
    for prefix, mask in (("lm", "mask"), ("lm_chat", "prompt")):
        case.compare(f"{prefix}_ids", stack(said, "ids"))
        case.compare(f"{prefix}_{'mask' if mask == 'mask' else 'prompt_mask'}", stack(said, mask))


@check("train/noise")
def _noise(shared: Shared, case: Case) -> None:
    row = case.parameters
    noised = train.noise_picture(
        case["codes"], case["timesteps"], case["uniform"], shared.special.mask, row["schedule"], row["min_masking_rate"]
    )  # fmt: skip
    case.compare("input_ids", noised.ids)
    case.compare("labels", noised.labels)
    case.compare("mask_prob", noised.rate, SCHEDULE)


@check("train/forward")
def _forward(shared: Shared, case: Case) -> None:
    ids, rows, length = case["input_ids"], tuple(case.parameters["batch"]), case.parameters["max_seq_length"]
    real = torch.ones_like(ids)
    real[: rows[0]] = case["t2i_masks"]
    logits = shared.backbone.logits(shared.backbone(ids, bb.training_bias(real)))
    case.compare("logits", logits, LOGITS)
    losses = {}
    for kind, answers in (("lm", case["answer_lengths_lm"]), ("lm_no_answer_lengths", None)):
        batch = train.JointBatch(
            ids, case["labels"], rows, case["p_mask_lm"], case["p_mask_mmu"], case["answer_lengths_mmu"], answers
        )  # fmt: skip
        found = train.joint_losses(logits, batch, length, shared.special.mask)
        losses |= {**found, kind: found["lm"]} if kind == "lm" else {kind: found["lm"]}
    ordered = [losses[name] for name in ("t2i", "lm", "mmu", "lm_no_answer_lengths")]
    case.compare("losses", torch.stack(ordered), LOGITS)


def _parameters(cases: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Parameters by case: what a whole group is given goes to each of its cases, which are named after their tensors."""
    given, names = cases["cases"], {name.rpartition("/")[0] for name in cases["tensors"]}
    known: dict[str, Mapping[str, Any]] = {}
    for name in {*names, *given}:
        children = any(other.startswith(f"{name}/") for other in names)
        if name in names or not children:
            known[name] = given.get(name) or given.get(name.split("/")[0], {})
    return known


SUITE = Suite(
    open=Shared, checks=ByGroup(), case_of=lambda name: name.rpartition("/")[0], separator="/", parameters=_parameters
)  # fmt: skip
