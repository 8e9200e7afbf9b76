"""The published curves and what a measured one is held against (fact sheet: aia, sections 2.2 and 3.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from unimm.model import Want

Task = Literal["drawing", "understanding"]
TASKS: dict[Want, Task] = {"image": "drawing", "text": "understanding"}
SPECIALISTS = "specialists"
COMMON = 36
"""Points of the axis on which curves of models of different depth meet."""


@dataclass(frozen=True)
class Published:
    """One model's two curves, a value a layer, and the reported spread over samples."""

    name: str
    layers: int
    spread: float
    drawing: tuple[float, ...]
    understanding: tuple[float, ...]

    def curve(self, want: Want) -> tuple[float, ...]:
        return self.drawing if want == "image" else self.understanding


@cache
def published() -> tuple[Published, ...]:
    """All published curves, from ``curves.json`` beside this file, which also names their source."""
    rows = json.loads((Path(__file__).parent / "curves.json").read_text(encoding="utf-8"))["curves"]
    return tuple(
        Published(name, row["layers"], row["spread"], tuple(row["drawing"]), tuple(row["understanding"])) for name, row in rows.items()
    )


def resampled(curve: Sequence[float], points: int = COMMON) -> np.ndarray:
    """A curve on a common depth axis from 0 (first layer) to 1 (last), linearly between layers; float64 [points]."""
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(curve)), curve)


def pearson(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Correlation of two curves over depth; None where one of them is flat or has a single layer."""
    a, b = (resampled(curve, max(len(one), len(other))) for curve in (one, other))
    return float(np.corrcoef(a, b)[0, 1]) if min(len(one), len(other)) > 1 and a.std() > 0 and b.std() > 0 else None


def distances(curve: Sequence[float], want: Want) -> dict[str, float]:
    """Mean absolute difference to every published curve over depth."""
    return {row.name: float(np.abs(resampled(curve) - resampled(row.curve(want))).mean()) for row in published()}
