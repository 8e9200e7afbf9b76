"""Failures to look at: ``python -m agents.gallery --json EVAL.json --out DIR`` runs what failed in an evaluation again and keeps
the traces, each with its pictures as a strip and as an animation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.exams import read_parts
from agents.loop import DrawAgent
from agents.measure import EVERY, Exam, Record
from agents.parallel import Load
from agents.run import load_model, write
from agents.tasks import TASKS
from agents.trace import Trace
from unimm.errors import BadInput, UnimmError
from unimm.model import UnifiedModel


def failures(part: dict[str, Any], condition: str, most: int) -> list[Record]:
    """At most so many records of failed problems, of as many groups as there are."""
    failed = [row for row in part["records"] if condition in row.get("runs", {}) and not row["runs"][condition]["success"]]
    groups: dict[Any, list[Record]] = {}
    for row in failed:
        groups.setdefault(row["size"], []).append(row)
    turns = [rows[place] for place in range(len(failed)) for rows in groups.values() if place < len(rows)]
    return turns[:most]


def again(model: UnifiedModel, exam: Exam, record: Record, condition: str) -> Trace:
    """The run of a record once more, with the seed and settings of the evaluation."""
    task = TASKS[exam.task]
    problem = task.problem(exam.split, record["index"], record["size"], exam.style)
    return DrawAgent(model, task, exam.settings(condition, task.about(problem))).invoke(problem)


def _runs(parts: dict[str, dict[str, Any]], condition: str, most: int) -> Iterator[tuple[str, Exam, Record]]:
    for task, part in parts.items():
        for record in failures(part, condition, most):
            yield task, part["exam"], record


def main(arguments: Sequence[str] | None = None, load: Load = load_model) -> int:
    """The command; returns the exit status: 0 written, 2 could not run."""
    flags = argparse.ArgumentParser(prog="python -m agents.gallery", description=__doc__)
    flags.add_argument("--json", type=Path, required=True, help="file of results")
    flags.add_argument("--out", type=Path, required=True, help="folder; every failure gets a folder of its own in it")
    flags.add_argument("--model", help="the model (default: the one that was measured)")
    flags.add_argument("--condition", choices=[name for name in EVERY if name != "direct"], default="self", help="(default: self)")
    flags.add_argument("--k", type=int, default=3, help="at most so many failures a task (default: 3)")
    given = flags.parse_args(arguments)
    try:
        parts = read_parts(given.json)
        if set(parts) - set(TASKS):
            raise BadInput(f"{given.json} is of tasks that this program does not know.")
        todo = list(_runs(parts, given.condition, given.k))
        model = load(given.model or next(iter(parts.values()))["model"]) if todo else None
        for task, exam, record in todo:
            assert model is not None
            trace = again(model, exam, record, given.condition)
            folder = given.out / f"{task}-{record['size']}-{record['index']}".replace(" ", "_")
            write(trace, folder)
            fault = (trace.score or record["runs"][given.condition]).get("fault")
            print(f"{folder}: {record['id']}, {trace.reason}, {fault or 'no fault in a picture'}")
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(todo)} failures of {given.condition}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
