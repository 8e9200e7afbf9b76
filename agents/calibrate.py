"""Make the critic's confidence a probability: ``python -m agents.calibrate --json EVAL.json [--config CONFIG.json]``.

Fits one temperature a task on the verdicts in a file of results, which should be of the split val, and prints the expected
calibration error before and after. With --config the temperatures go into a model's configuration.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.exams import read_parts
from agents.measure import Record, examined
from agents.statistics import calibration_error, tempered
from unimm.errors import BadInput

COLDEST, HOTTEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Fit:
    """The temperature of one task, and the calibration error before and after, by where the verdicts come from ("all" too).

    ``heat`` is what a model's configuration should have; ``was`` what it had when the verdicts were recorded.
    """

    heat: float
    was: float
    errors: dict[str, tuple[int, float, float]]


def losses(confidences: Sequence[float], hits: Sequence[bool], heat: float) -> float:
    """Mean binary cross-entropy in nats of tempered confidences (0..1) with whether the verdicts were right."""
    shares = (tempered(confidence, heat) for confidence in confidences)
    return sum(-math.log(max(share if hit else 1 - share, 1e-12)) for share, hit in zip(shares, hits, strict=True)) / len(hits)


def golden_section(loss: Callable[[float], float], low: float, high: float, steps: int = 40) -> float:
    """Where a function with one valley between ``low`` and ``high`` is least."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(steps):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2


def fit(records: Sequence[Record]) -> Fit | None:
    """The temperature for one task's records; None where they hold no verdicts."""
    sources = {name: [pair for pair in pairs if pair["confidence"] > 0] for name, pairs in verdicts(records).items()}
    every = [pair for pairs in sources.values() for pair in pairs]
    if not every:
        return None
    was = next(heat for record in records for heat in _heats(record))
    confidences, hits = _columns(every)
    further = 1.0  # where all verdicts are right, or none is, no temperature is the best one
    if len(set(hits)) == 2:
        further = math.exp(golden_section(lambda log: losses(confidences, hits, math.exp(log)), math.log(COLDEST), math.log(HOTTEST)))
    errors = {name: _errors(pairs, further) for name, pairs in {**sources, "all": every}.items() if pairs}
    return Fit(was * further, was, errors)


def verdicts(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Where they come from -> verdicts of the model beside the truth."""
    return {
        "made for the exam": [pair for record in records if record["kind"] == "judge" for pair in record["pictures"]],
        "own drawings": [pair for record in records for run in examined(record) for pair in run["judged"]],
    }


def _heats(record: Record) -> list[float]:
    if record["kind"] == "judge":
        return [record.get("heat", 1.0)]
    return [run.get("heat", 1.0) for run in examined(record)]


def _columns(pairs: Sequence[Record]) -> tuple[list[float], list[bool]]:
    return [pair["confidence"] for pair in pairs], [pair["said_ok"] == pair["ok"] for pair in pairs]


def _errors(pairs: Sequence[Record], heat: float) -> tuple[int, float, float]:
    confidences, hits = _columns(pairs)
    before, after = (calibration_error([tempered(share, heat) for share in confidences], hits) for heat in (1.0, heat))
    return len(pairs), before or 0.0, after or 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status: 0 fitted, 2 could not."""
    flags = argparse.ArgumentParser(
        prog="python -m agents.calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--json", type=Path, required=True, help="file of results, of the split val")
    flags.add_argument("--config", type=Path, help="config.json of a model, which the temperatures are written to")
    given = flags.parse_args(arguments)
    try:
        parts = read_parts(given.json)
        fits = {task: found for task, part in parts.items() if (found := fit(part["records"])) is not None}
        if not fits:
            raise BadInput(f"{given.json} holds no verdicts of the model. Measure with --critic-n above 0.")
        for task, found in fits.items():
            if parts[task]["exam"].split == "test":
                print(f"{task}: these verdicts are of the split test; fit on val to keep it unseen.")
            for name, (count, before, after) in found.errors.items():
                print(f"{task}, {name}: {count} verdicts, calibration error {before:.4f} before, {after:.4f} after")
        heats = {task: round(found.heat, 4) for task, found in fits.items()}
        print(json.dumps({"calibration": heats}))
        if given.config:
            _write(given.config, heats)
    except (BadInput, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _write(path: Path, heats: dict[str, float]) -> None:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is no configuration of a model.") from error
    config["calibration"] = {**config.get("calibration", {}), **heats}
    path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
