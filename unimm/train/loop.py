"""One training loop for every stage: wall-clock budget, checkpoints that survive a cut, metrics on the way.

Runs the same on CPU and GPU, alone or under ``accelerate launch``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm


@dataclass(frozen=True)
class StagePlan:
    """What a stage trains and how; ``loss`` gets the module and a batch and returns the loss and named numbers.

    ``minutes`` is the budget of wall-clock time in which the learning rate falls from ``rate`` to a twentieth
    of it; a step adds up ``parts`` batches, small ones staying in a CPU's cache; ``examine`` returns held-out metrics and may leave
    sample pictures in the given folder.
    """

    name: str
    minutes: float
    rate: float
    loss: Callable[[nn.Module, Any], tuple[Tensor, dict[str, float]]]
    batches: Callable[[int], Iterator[Any]]
    examine: Callable[[nn.Module, Path, int], dict[str, float]]
    trains: Callable[[str], bool] = lambda name: True
    weight_decay: float = 0.02
    warmup: int = 100
    parts: int = 1
    examine_every: float = 240.0
    average: float = 0.0
    """Share that the running average of the weights keeps at a step; the average is examined, and what training leaves. The last steps'
    noise is not in it. 0 is the weights themselves."""


def split_parameters(module: nn.Module, trains: Callable[[str], bool]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Freeze what the stage does not train; return its hidden matrices and everything else apart.

    Matrices between hidden layers are trained by Muon, embeddings, heads, norms and convolutions by AdamW.
    """
    matrices, others = [], []
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trains(name))
        if not trains(name):
            continue
        hidden = parameter.ndim == 2 and (".layers." in name or ".blocks." in name)
        (matrices if hidden else others).append(parameter)
    return matrices, others


def rate_at(progress: float, step: int, warmup: int) -> float:
    """Share of the full learning rate: linear warm-up in steps, then a cosine over the time budget."""
    return min(1.0, (step + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def precision() -> str:
    """What to multiply in: "bf16" on a GPU and on CPUs that have instructions for it, else "no" (32 bits): others, those with AVX-512
    alone among them, are many times slower with 16 bits than with 32."""
    instructions = torch.cpu.get_capabilities()
    return "bf16" if torch.cuda.is_available() or instructions.get("avx512_bf16") or instructions.get("amx_bf16") else "no"


def run_stage(plan: StagePlan, module: nn.Module, out: Path, resume: bool = False, seed: int = 0) -> dict[str, float]:
    """Train ``module`` in place until the budget is spent; returns the last held-out metrics.

    A checkpoint is written every minute to ``out/<stage>.pt``; ``resume`` continues from it, with the time
    already spent counted.
    """
    accelerator = Accelerator(mixed_precision=precision())
    matrices, others = split_parameters(module, plan.trains)
    optimizers = [torch.optim.AdamW(others, lr=plan.rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay)]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=plan.rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"))
    wrapped, *optimizers = accelerator.prepare(module, *optimizers)
    step, spent, checkpoint = 0, 0.0, out / f"{plan.name}.pt"
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(plan.average))
    if resume and checkpoint.exists():
        saved = torch.load(checkpoint, map_location=accelerator.device, weights_only=True)
        average.module.load_state_dict(saved["module"])
        average.n_averaged.fill_(saved["step"])
        module.load_state_dict(saved["latest"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        step, spent = saved["step"], saved["spent"]
    batches = plan.batches(seed + 1_000_003 * accelerator.process_index + 7919 * step)
    bar = tqdm(total=round(plan.minutes * 60), initial=round(spent), unit="s", desc=plan.name, disable=not accelerator.is_main_process,
               mininterval=10)  # fmt: skip
    seen: dict[str, list[float]] = {}
    metrics, last = {}, time.monotonic()
    saved_at = examined_at = spent
    while spent < plan.minutes * 60:
        share = rate_at(spent / (plan.minutes * 60), step, plan.warmup)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * share
        for _ in range(plan.parts):
            with accelerator.autocast():
                loss, numbers = plan.loss(wrapped, next(batches))
            accelerator.backward(loss / plan.parts)
            for key, value in numbers.items():
                seen.setdefault(key, []).append(value)
        accelerator.clip_grad_norm_(matrices + others, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        average.update_parameters(module)
        step, now = step + 1, time.monotonic()
        spent, last = spent + now - last, now
        bar.n = round(spent)
        ended = spent >= plan.minutes * 60
        if spent - saved_at > 60 or ended:
            saved_at = spent
            means = {key: sum(values) / len(values) for key, values in seen.items()}
            bar.set_postfix({"step": step, **{key: f"{value:.4g}" for key, value in means.items()}})
            _log(accelerator, out, {"stage": plan.name, "step": step, "spent": spent, **means})
            seen = {}
            _save(accelerator, checkpoint, average.module, module, optimizers, step, spent)
        if spent - examined_at > plan.examine_every or ended:
            examined_at = spent
            average.eval()
            with torch.no_grad(), accelerator.autocast():
                metrics = plan.examine(average.module, out, step)
            _log(accelerator, out, {"stage": plan.name, "step": step, "held_out": metrics})
    bar.close()
    module.load_state_dict(average.module.state_dict())
    return metrics


def _save(
    accelerator: Accelerator, path: Path, average: nn.Module, module: nn.Module, optimizers: list[Any], step: int, spent: float
) -> None:
    """Write beside the old checkpoint and swap, so that a cut never leaves half a file; "module" are the averaged weights."""
    if accelerator.is_main_process:
        partial = path.with_suffix(".partial")
        states = {"module": average.state_dict(), "latest": module.state_dict(), "optimizers": [each.state_dict() for each in optimizers]}
        torch.save({**states, "step": step, "spent": spent}, partial)
        partial.replace(path)


def _log(accelerator: Accelerator, out: Path, row: dict[str, Any]) -> None:
    if accelerator.is_main_process:
        with (out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        tqdm.write(json.dumps(row))
