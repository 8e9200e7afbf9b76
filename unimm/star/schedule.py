"""Noise levels of STAR's diffusion decoder (fact sheet: star, section 9)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def sigmas(steps: int, shift: float) -> Tensor:
    """Flow-matching noise levels [steps + 1], from 1 down to a closing 0, bent towards noise by ``shift``."""
    even = torch.from_numpy(np.linspace(1, 1 / steps, steps, dtype=np.float64)).float()
    return torch.cat([shift * even / (1 + (shift - 1) * even), torch.zeros(1)])


def timesteps(levels: Tensor, train_steps: int = 1000) -> Tensor:
    """Scheduler times of all levels but the closing 0."""
    return levels[:-1] * train_steps
