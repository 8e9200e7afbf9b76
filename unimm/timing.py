"""Two ways to the same result, timed in turns in one process: what every speed claim of this project is made of."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Mismatch(AssertionError):
    """Two ways that must give the same result do not."""


@dataclass(frozen=True)
class Race:
    """A fast way against the obvious one.

    Seconds are the best of ``repeat`` timings. ``contract`` says what was asserted about the results: "identical", or the
    measured difference.
    """

    model: str
    what: str
    slow: str
    fast: str
    slow_seconds: float
    fast_seconds: float
    contract: str
    repeat: int

    @property
    def ratio(self) -> float:
        """How many times as fast."""
        return self.slow_seconds / self.fast_seconds

    def line(self) -> str:
        """One line for people."""
        timed = f"{self.slow_seconds:7.2f} s  {self.fast_seconds:7.2f} s  {self.ratio:5.1f}x"
        return f"{self.model:12} {self.what:28} {timed}   {self.fast} against {self.slow}; {self.contract}"


def race(
    model: str, what: str, slow: tuple[str, Callable[[], Any]], fast: tuple[str, Callable[[], Any]],
    contract: Callable[[Any, Any], str], repeat: int = 3,
) -> Race:  # fmt: skip
    """Time ``slow`` and ``fast`` (a name and a function each) in turns.

    ``contract`` gets both results of every turn, raises where they break the promise, and says in words what held.
    """
    seconds = {"slow": float("inf"), "fast": float("inf")}
    held = ""
    for _ in range(repeat):
        results = {}
        for way, (_, work) in (("slow", slow), ("fast", fast)):
            began = time.perf_counter()
            results[way] = work()
            seconds[way] = min(seconds[way], time.perf_counter() - began)
        held = contract(results["slow"], results["fast"])
    return Race(model, what, slow[0], fast[0], seconds["slow"], seconds["fast"], held, repeat)


def peak_memory_gb() -> float:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def this_machine() -> dict[str, dict[str, Any]]:
    """What a timing was measured on, as plain data."""
    import torch

    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"machine": machine, "versions": {"python": platform.python_version(), "torch": torch.__version__}}
