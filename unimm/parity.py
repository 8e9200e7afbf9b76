"""Compare a model with reference numbers: ``python -m unimm.parity star --golden DIR``.

A golden folder holds ``cases.json`` (parameters), ``cases.safetensors`` and toy weights in their published layout.
Every case gets one line. A model takes part with a ``Suite``: a check per case it covers, a reason per case it leaves
out, and how its folder names things.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unimm.errors import BadInput, UnimmError

EXACT = 0.0

SUITES = {name: f"unimm.{name}.parity" for name in ("star", "bagel", "mmada", "janus", "emu3")} | {"aia": "unimm.analysis.parity"}
"""Where each model's ``SUITE`` lives; a module is imported when its model is asked for."""


@dataclass(frozen=True)
class Compared:
    """One tensor against its reference: largest absolute difference (inf for another shape) and what is allowed."""

    tensor: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    @property
    def share(self) -> float:
        """How much of the tolerance is used up; the worst tensor of a case is the one with the most."""
        return self.error / self.tolerance if self.tolerance else (math.inf if self.error else 0.0)


@dataclass(frozen=True)
class Verdict:
    """What one case came to: ``ok`` is None where it is not covered, ``why`` says the rest."""

    case: str
    ok: bool | None
    compared: tuple[Compared, ...] = ()
    why: str = ""

    def line(self) -> str:
        if self.ok is None:
            return f"{self.case:22} not covered: {self.why}"
        if not self.compared:
            return f"{self.case:22} FAIL  {self.why}"
        worst = max(self.compared, key=lambda row: row.share)
        numbers = f"max abs error {worst.error:8.2e}   tolerance {_tolerance(worst.tolerance):7}"
        what = f"{len(self.compared)} tensors, worst {worst.tensor}" + (f"; {self.why}" if self.why else "")
        return f"{self.case:22} {numbers:46} {'ok  ' if self.ok else 'FAIL'}  {what}"


def _tolerance(value: float) -> str:
    return f"{value:.1e}" if value else "exact"


@dataclass
class Golden:
    """A folder of reference numbers."""

    folder: Path

    @cached_property
    def cases(self) -> dict[str, Any]:
        return _json(self.folder / "cases.json")

    @cached_property
    def config(self) -> dict[str, Any]:
        return _json(self.folder / "config.json")

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        path = self.folder / "cases.safetensors"
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from error

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """Full names of all tensors, in order."""
        return tuple(sorted(self.cases.get("tensors") or self.tensors))

    @property
    def produced_with(self) -> Mapping[str, str]:
        return self.cases.get("produced_with", {})

    @property
    def tolerance(self) -> float:
        """The default for floats."""
        return float(self.cases.get("default_tolerance", {}).get("fp32_abs", 1e-4))


@dataclass
class Case:
    """One case's tensors and parameters; collects what a check compares and notices what it leaves unread."""

    golden: Golden
    name: str
    separator: str = "."
    parameters: Mapping[str, Any] = field(default_factory=dict)
    compared: list[Compared] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    @property
    def tensors(self) -> list[str]:
        """Names of this case's tensors, without the case's own name."""
        prefix = f"{self.name}{self.separator}"
        return [name.removeprefix(prefix) for name in self.golden.listed if name.startswith(prefix)]

    @property
    def unread(self) -> list[str]:
        return [name for name in self.tensors if name not in self.seen]

    def __contains__(self, tensor: str) -> bool:
        return f"{self.name}{self.separator}{tensor}" in self.golden.listed

    def __getitem__(self, tensor: str) -> Tensor:
        self.seen.add(tensor)
        try:
            return self.golden.tensors[f"{self.name}{self.separator}{tensor}"]
        except KeyError:
            raise BadInput(f"the folder lacks the tensor {self.name}{self.separator}{tensor}") from None

    def other(self, name: str) -> Case:
        """Another case whose tensors this one builds on."""
        return Case(self.golden, name, self.separator)

    def compare(self, tensor: str, actual: Tensor, tolerance: float | None = None) -> None:
        """Hold ``actual`` against a reference tensor, if the folder has it; ids, masks and positions are exact by default."""
        if tensor not in self:
            return
        expected = self[tensor]
        default = self.golden.tolerance if expected.is_floating_point() else EXACT
        self.compared.append(Compared(tensor, distance(actual, expected), default if tolerance is None else tolerance))


def distance(actual: Tensor, expected: Tensor) -> float:
    """Largest absolute difference; equal infinities are 0 apart, NaN and unequal shapes infinitely far."""
    if actual.shape != expected.shape:
        return math.inf
    if not actual.numel():
        return 0.0
    actual, expected = actual.detach().cpu().double(), expected.double()
    gaps = torch.where(actual == expected, 0.0, (actual - expected).abs())
    return torch.nan_to_num(gaps, nan=math.inf, posinf=math.inf).max().item()


Check = Callable[[Any, Case], None]


def registrar(checks: dict[str, Check]) -> Callable[[str], Callable[[Check], Check]]:
    """A decorator ``check(name)`` that enters the check of a case or group into ``checks``, to run without gradients."""

    def check(name: str) -> Callable[[Check], Check]:
        def add(function: Check) -> Check:
            checks[name] = torch.inference_mode()(function)
            return function

        return add

    return check


def first_part(tensor: str) -> str:
    """The case of a tensor named ``case.tensor``, where the tensor's own name may hold dots."""
    return tensor.split(".")[0]


def _parameters(cases: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return cases.get("parameters", {})


@dataclass(frozen=True)
class Suite:
    """A model's part: ``open`` prepares what its checks share, ``checks`` are named by case, ``left_out`` gives reasons.

    ``case_of`` names the case of a tensor, ``separator`` stands between the two names, and ``parameters`` finds the
    parameters of all cases in ``cases.json``; what has parameters is a case even where it has no tensor.
    """

    open: Callable[[Golden], Any]
    checks: Mapping[str, Check]
    left_out: Mapping[str, str] = field(default_factory=dict)
    case_of: Callable[[str], str] = first_part
    separator: str = "."
    parameters: Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]] = _parameters

    def cases(self, golden: Golden) -> list[Case]:
        """All cases of a folder, by name."""
        known = self.parameters(golden.cases)
        names = sorted({self.case_of(tensor) for tensor in golden.listed} | set(known))
        return [Case(golden, name, self.separator, known.get(name, {})) for name in names]


def walk(suite: Suite, golden: Golden) -> Iterator[Verdict]:
    """Run every case of a folder; a check that raises is a failure with its message, not the end."""
    shared = suite.open(golden)
    for case in suite.cases(golden):
        if case.name in suite.left_out:
            yield Verdict(case.name, None, why=suite.left_out[case.name])
        elif case.name not in suite.checks:
            yield Verdict(case.name, None, why="no check knows this case")
        else:
            yield _run(suite.checks[case.name], shared, case)


def _run(check: Check, shared: Any, case: Case) -> Verdict:
    try:
        check(shared, case)
    except UnimmError as error:
        return Verdict(case.name, False, tuple(case.compared), str(error))
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return Verdict(case.name, False, tuple(case.compared), f"{type(error).__name__}: {error}")
    if not case.compared:
        return Verdict(case.name, False, why="the folder holds nothing to compare for this case")
    ok = all(row.ok for row in case.compared)
    return Verdict(case.name, ok, tuple(case.compared), f"not compared: {', '.join(case.unread)}" if case.unread else "")


def suite_of(model: str) -> Suite:
    """The checks of a model by name; raises ``BadInput`` for one that has none."""
    if model not in SUITES:
        raise BadInput(f"No parity checks for {model!r}. There are some for: {', '.join(SUITES)}.")
    return importlib.import_module(SUITES[model]).SUITE


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a case and the totals; 0 if none failed, 1 if one did, 2 if the folder cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m unimm.parity", description="Compare a model with reference numbers.")
    parser.add_argument("model", choices=sorted(SUITES))
    parser.add_argument("--golden", type=Path, required=True, help="folder with cases.json, cases.safetensors, config.json, weights")
    parser.add_argument("--verbose", action="store_true", help="a line for every tensor too")
    row = parser.parse_args(arguments)
    counts = {True: 0, False: 0, None: 0}
    try:
        for verdict in walk(suite_of(row.model), Golden(row.golden)):
            counts[verdict.ok] += 1
            print(verdict.line(), flush=True)
            for one in verdict.compared if row.verbose else ():
                print(f"    {one.tensor:30} {one.error:8.2e}  {_tolerance(one.tolerance):7}  {'ok' if one.ok else 'FAIL'}")
    except (UnimmError, KeyError) as error:
        print(f"This folder cannot be used: {error}", file=sys.stderr)
        return 2
    print(f"{counts[True]} ok, {counts[False]} failed, {counts[None]} not covered")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    sys.exit(main())
