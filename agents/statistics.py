"""The few statistics that evaluation needs: shares with intervals, balanced accuracy, calibration. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Z = 1.959963984540054
"""Two-sided 95 %."""
_SURE = 1e-6  # a probability of exactly 0 or 1 has no logit


@dataclass(frozen=True)
class Share:
    """A measured share with its 95 % interval; ``value``, ``low``, ``high`` lie in 0..1 and are None where nothing was counted."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "-"
        return f"{percent(self.value)} [{percent(self.low)}, {percent(self.high)}]"


def percent(value: float | None) -> str:
    """A share as per cent with one digit; rounded towards "not all" and "not none", so that 100.0 and 0.0 mean exactly that."""
    if value is None:
        return "-"
    tenths = round(value * 1000)
    tenths = 999 if tenths == 1000 and value < 1 else 1 if tenths == 0 and value > 0 else tenths
    return f"{tenths / 10:.1f}"


def wilson(hits: int, n: int) -> Share:
    """The share ``hits / n`` with Wilson's score interval: right for small n, and at 0 and 1, where the usual one has no width."""
    if n == 0:
        return Share(None)
    share = hits / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Share(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share), n)


def share(values: Iterable[bool]) -> Share:
    """``wilson`` of a list of yes and no."""
    listed = list(values)
    return wilson(sum(map(bool, listed)), len(listed))


def balanced(one: Share, other: Share) -> Share:
    """Balanced accuracy: the mean of two independent recalls.

    The interval joins those of the recalls as Zou and Donner do (2008, "method of variance estimates recovery"), so that
    it keeps a width where a recall is exactly 1.
    """
    if one.value is None or other.value is None:
        return Share(None)
    value = (one.value + other.value) / 2
    below = math.hypot(*(part.value - part.low for part in (one, other))) / 2
    above = math.hypot(*(part.high - part.value for part in (one, other))) / 2
    return Share(value, max(value - below, 0.0), min(value + above, 1.0), one.n + other.n)


def calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float | None:
    """Expected calibration error: how far confidence (0..1) and share of right answers lie apart, averaged over equally wide bins.

    Every bin counts as much as it holds answers. None where there are no answers.
    """
    if not confidences:
        return None
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, hit in zip(confidences, right, strict=True):
        held[min(int(confidence * bins), bins - 1)].append((confidence, hit))
    gaps = (abs(sum(confidence - hit for confidence, hit in rows)) for rows in held)
    return sum(gaps) / len(confidences)


def tempered(chance: float, heat: float) -> float:
    """A probability with its logit divided by a temperature; 1 leaves it as it is, and more makes it less sure."""
    if heat == 1.0:
        return chance
    chance = min(max(chance, _SURE), 1 - _SURE)
    return (1 + math.tanh((math.log(chance) - math.log1p(-chance)) / heat / 2)) / 2


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there; None where nothing is."""
    listed = [value for value in values if value is not None]
    return sum(listed) / len(listed) if listed else None
