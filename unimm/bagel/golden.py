"""What BAGEL's parity checks share: the folder's weights and rules, and how a tensor is held against its reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unimm.bagel.checkpoint import Checkpoint, load_checkpoint
from unimm.bagel.config import BagelConfig
from unimm.bagel.model import Bagel
from unimm.bagel.pictures import Grid, ResizeRule, unfold
from unimm.bagel.reader import Reader
from unimm.parity import EXACT, Case, Check, Compared, Golden, distance

GREY_LEVEL = 1.0
"""The release truncates where others round, so a grey level may be one off."""


@dataclass
class Shared:
    """What the checks share: the folder's weights once they are asked for, and the resize rules of its cases."""

    golden: Golden

    @cached_property
    def checkpoint(self) -> Checkpoint:
        loaded = load_checkpoint(self.golden.folder, dtype=torch.float32)
        rules = {f"{name}_rule": rule_of(self.golden.cases[f"{name}_transform"]) for name in ("vae", "vit")}
        loaded.bagel.config = replace(loaded.config, **rules)
        return replace(loaded, config=loaded.bagel.config)

    @property
    def bagel(self) -> Bagel:
        return self.checkpoint.bagel

    @property
    def config(self) -> BagelConfig:
        return self.checkpoint.config

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.bagel, self.checkpoint.autoencoder, self.checkpoint.words.marks)

    def decoded(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Pixels [1, 3, H, W] of latent tokens."""
        return self.checkpoint.autoencoder.decode(unfold(tokens, grid, self.config.latent_patch)[None])


def rule_of(row: Mapping[str, int]) -> ResizeRule:
    return ResizeRule(row["max"], row["min"], row["stride"])


CHECKS: dict[str, Check] = {}


def check(*names: str) -> Callable[[Check], Check]:
    """Register the check of some cases and run it without gradients."""

    def add(function: Check) -> Check:
        CHECKS.update(dict.fromkeys(names, torch.inference_mode()(function)))
        return function

    return add


def close(case: Case, tensor: str, actual: Tensor) -> None:
    """Compare under the case's own tolerance: absolute plus a share of each number, at the place that uses most of it."""
    if tensor not in case:
        return
    expected, allowed = case[tensor], case.parameters["tolerance"]
    if not expected.is_floating_point():
        case.compare(tensor, actual, GREY_LEVEL if expected.dtype == torch.uint8 else EXACT)
        return
    if math.isinf(far := distance(actual, expected)) or not far:
        case.compared.append(Compared(tensor, far, allowed.get("atol", EXACT)))
        return
    limits = allowed.get("atol", EXACT) + allowed.get("rtol", EXACT) * expected.double().abs()
    errors = (actual.double() - expected.double()).abs()
    worst = int((errors / limits).nan_to_num().argmax())
    case.compared.append(Compared(tensor, errors.flatten()[worst].item(), limits.flatten()[worst].item()))


def same(case: Case, what: str, actual: Any, expected: Any) -> None:
    """Hold a setting of ``cases.json`` against what comes out."""
    case.compared.append(Compared(what, 0.0 if actual == expected else math.inf, EXACT))
