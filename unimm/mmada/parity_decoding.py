"""Parity checks of the two loops: words by blocks, cached and not, and pictures by unmasking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unimm.mmada.parity_shared import CONFIDENCE, PIXELS, PROBABILITY, Shared, check, number, optional, stack
from unimm.mmada.prompts import Layout
from unimm.mmada.text import WritePlan, WriteStep, write
from unimm.mmada.unmask import DrawPlan, DrawStep, Scene, SeededDraws, unmask
from unimm.parity import Case


class StoredWriteNoise:
    """The uniform numbers that a folder stores, a row of them each step."""

    def __init__(self, uniform: Tensor | None) -> None:
        self.left = iter(()) if uniform is None else iter(uniform)

    def candidates(self, first: int, last: int, rows: int, vocabulary: int) -> Tensor:
        return next(self.left)[:, first:last]

    def order(self, first: int, last: int, rows: int) -> Tensor:
        return next(self.left)[:, first:last]


def write_plan(params: Mapping[str, Any], cache: str = "none", within_block: bool = False) -> WritePlan:
    return WritePlan(
        params.get("max_new_tokens") or params["gen_length"], params["block_length"], params["steps"], params.get("temperature", 0.0),
        1 + params.get("cfg_scale", 0.0), params.get("remasking", "low_confidence"), params.get("threshold"), params.get("factor"),
        cache, within_block, params.get("eot_token"),
    )  # fmt: skip


def compare_writing(case: Case, steps: list[WriteStep]) -> None:
    case.compare("steps", torch.stack([step.ids for step in steps]))
    case.compare("transfer_counts", torch.stack([step.settled for step in steps]))
    case.compare("confidence", torch.stack([step.confidence for step in steps]), CONFIDENCE)
    done = [step for step in steps if step.fed]
    if "nfe" in case.parameters:
        number(case, "nfe", len(done), case.parameters["nfe"])
    if "forward_input_shapes" in case.parameters:
        number(case, "forward_input_shapes", [list(step.fed) for step in done], case.parameters["forward_input_shapes"])


@check("text")
def _text(shared: Shared, case: Case) -> None:
    params, prompt = case.parameters["params"], case["prompt"]
    uniform, mask = optional(case, "uniform"), optional(case, "attention_mask")
    plan = write_plan(params)
    steps = list(write(shared.backbone, prompt, plan, StoredWriteNoise(uniform), mask))
    compare_writing(case, [step for step in steps if step.fed] if plan.adaptive else steps)
    if "app_steps" in case:
        restricted = write(shared.backbone, prompt, write_plan(params, within_block=True), StoredWriteNoise(uniform), mask)
        case.compare("app_steps", torch.stack([step.ids for step in restricted]))


@check("fast")
def _fast(shared: Shared, case: Case) -> None:
    prompt = case.other("fast")["prompt"]
    name = case.name.rpartition("/")[2]
    cache = next((kind for kind in ("prefix", "dual") if kind in name), "none")
    params = case.parameters.get("params") or {"gen_length": 1, "block_length": 1, "steps": 1}
    steps = list(write(shared.backbone, prompt, write_plan(params, cache), StoredWriteNoise(None)))
    # The case that only holds the prompt: nothing of it may change. The rest under its name is in cases of its own.
    case.compare("prompt", steps[-1].ids[:, : prompt.shape[1]])
    case.seen.update(tensor for tensor in case.tensors if "/" in tensor)
    compare_writing(case, [step for step in steps if step.fed])


@check("mmu")
def _mmu(shared: Shared, case: Case) -> None:
    given, slots = case["input_ids"], shared.golden.cases["num_vq_tokens"]
    codes = shared.vq.encode(case.other("vq")["pixel_values"][:1])[0] + shared.special.offset
    layout = Layout(shared.special, shared.text_length)
    prompt = torch.tensor([layout.looking(given[0, slots + 3 :].tolist(), codes.tolist())])
    case.compare("input_ids", prompt)
    compare_writing(case, list(write(shared.backbone, prompt, write_plan(case.parameters["params"]), StoredWriteNoise(None))))


class StoredDraws:
    """The random numbers that a folder stores for a picture."""

    def __init__(self, case: Case) -> None:
        self.races, self.uniforms = iter(case["race_noise"]), iter(case["gumbel_uniform"])

    def race(self, rows: int, slots: int, codes: int) -> Tensor:
        return next(self.races)

    def uniform(self, rows: int, slots: int) -> Tensor:
        return next(self.uniforms)


@check("t2i")
def _t2i(shared: Shared, case: Case) -> None:
    params = case.parameters["params"]
    greedy = case.parameters["mode"] == "greedy"
    plan = DrawPlan(
        params["timesteps"], 1 + params["guidance_scale"], params["temperature"], greedy, params["schedule"], scale=params["seq_len"]
    )  # fmt: skip
    scene = _scene(shared, case, params)
    seeded = SeededDraws(torch.Generator().manual_seed(case.parameters.get("generator_seed") or 0))
    draws = seeded if greedy or "race_noise" not in case else StoredDraws(case)
    steps = list(unmask(shared.backbone, scene, shared.special.offset, plan, draws))
    _compare_drawing(shared, case, steps)
    if not greedy and shared.same_torch:
        *_, last = unmask(shared.backbone, scene, shared.special.offset, plan, seeded)
        case.compare("out", last.codes)


def _scene(shared: Shared, case: Case, params: Mapping[str, Any]) -> Scene:
    """The rows as our layout builds them from the prompts, and they must be those of the folder."""
    layout, slots = Layout(shared.special, params["text_len_param_called_resolution"]), params["seq_len"]
    given = case["input_ids"][:, -slots - 1 : -1].tolist()
    rows = [layout.drawing(prompt["ids"], image) for prompt, image in zip(case.parameters["prompts"], given, strict=True)]
    case.compare("input_ids", stack(rows, "ids"))
    case.compare("attention_mask", stack(rows, "mask"))
    bare = [layout.drawing([], [shared.special.mask] * slots) for _ in given]
    case.compare("uncond_input_ids", stack(bare, "ids"))
    case.compare("uncond_attention_mask", stack(bare, "mask"))
    guided = params["guidance_scale"] > 0
    with_slots = [layout.drawing([], image) for image in given]
    bare_rows = (stack(with_slots, "ids"), stack(with_slots, "mask")) if guided else (None, None)
    return Scene(stack(rows, "ids"), stack(rows, "mask"), slots, *bare_rows)


def _compare_drawing(shared: Shared, case: Case, steps: list[DrawStep]) -> None:
    case.compare("steps", torch.stack([step.slots for step in steps]))
    case.compare("sampled", torch.stack([step.sampled for step in steps]))
    case.compare("mask_len", torch.stack([step.masked for step in steps]))
    case.compare("selected_probs", torch.stack([step.chances for step in steps]), PROBABILITY)
    case.compare("probs_step0", steps[0].probabilities, PROBABILITY)
    case.compare("out", steps[-1].codes)
    if "decoded" in case:
        case.compare("decoded", shared.vq.decode(steps[-1].codes), PIXELS)
    if "mask_counts_after_step" in case.parameters:
        number(case, "mask_counts_after_step", [step.masked.tolist() for step in steps], case.parameters["mask_counts_after_step"])
