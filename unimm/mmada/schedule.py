"""How many columns are settled after every step (fact sheet mmada, sections 7 and 9). Pure functions."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from unimm.errors import BadInput

SCHEDULES = ("cosine", "linear", "sigmoid", "pow2", "pow3")
"""Schedules by name; any ``pow`` with a number is one."""

_LOW = 1e-6


def masked_share(name: str, ratio: Tensor) -> Tensor:
    """The share of slots still masked when ``ratio`` [...] of the steps are done, in the precision of ``ratio``."""
    if name == "cosine":
        return torch.cos(ratio * math.pi / 2)
    if name == "linear":
        return (1 - ratio).clamp(_LOW, 1)
    if name == "sigmoid":
        low, high = torch.sigmoid(torch.tensor(-3.0)), torch.sigmoid(torch.tensor(3.0))
        return ((high - torch.sigmoid(6 * ratio - 3)) / (high - low)).clamp(_LOW, 1)
    if power := re.fullmatch(r"pow(\d+(?:\.\d+)?)", name):
        return (1 - ratio ** float(power[1])).clamp(_LOW, 1)
    raise BadInput(f"There is no schedule {name!r}. Take one of: {', '.join(SCHEDULES)}.")


def share_after(name: str, step: int, steps: int) -> Tensor:
    """``masked_share`` after step ``step`` (from 0) of ``steps``, as an fp32 scalar."""
    return masked_share(name, torch.tensor((step + 1) / steps))


def still_masked(share: Tensor, slots: int, unknown: Tensor) -> Tensor:
    """How many slots to mask again after a step that began with ``unknown`` [B] masked ones: at least one is settled, one is left."""
    wanted = int((slots * share).floor())
    return torch.minimum(unknown - 1, torch.full_like(unknown, wanted)).clamp(min=1)


def transfer_counts(masked: Tensor, steps: int) -> Tensor:
    """Columns to settle at each step, [B, steps], for ``masked`` [B] columns: as even as can be, the larger counts first."""
    step = torch.arange(steps, device=masked.device)
    return masked[:, None] // steps + (step < (masked % steps)[:, None]).long()
