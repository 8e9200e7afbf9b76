"""Sitting exams: all their work over several processes, kept as it comes so that a cut run can go on, and put into one file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from agents.measure import Exam, Record, Unit, measure, units
from agents.parallel import Load, run_all
from agents.summary import summarise
from unimm.errors import BadInput
from unimm.model import UnifiedModel

Records = dict[str, list[Record]]
"""Task -> its records, in the order of ``units``."""
Exams = Mapping[str, Exam]
"""Task -> its exam."""


def sit(
    exams: Exams, model: str, jobs: int, load: Load, partial_file: Path | None, head: dict[str, Any], resume: bool, threads: int = 1
) -> Records:
    """All records of the exams, by so many ``jobs`` of so many ``threads``; kept in ``partial_file`` as they come."""
    work = [(task, unit) for task, exam in exams.items() for unit in units(exam)]
    known = _known(partial_file, head) if resume and partial_file else {}
    todo = [piece for piece in work if _name(*piece) not in known]
    title = " ".join([*exams, next(iter(exams.values())).split])
    with tqdm(total=len(work), initial=len(work) - len(todo), unit="unit", mininterval=1.0, desc=title) as bar:
        for record in _kept(run_all(partial(_measured, exams), todo, jobs, load, model, threads), partial_file, head, known):
            known[f"{record['task']} {record['key']}"] = record
            bar.update()
            own = [row["runs"]["self"]["success"] for row in known.values() if "self" in row.get("runs", {})]
            if own:
                bar.set_postfix_str(f"self-critique solved {sum(own)}/{len(own)}")
    return {task: [_untitled(known[_name(task, unit)]) for unit in units(exam)] for task, exam in exams.items()}


def _measured(exams: Exams, model: UnifiedModel, piece: tuple[str, Unit]) -> Record:
    task, unit = piece
    return {"task": task} | measure(exams[task], model, unit)


def _name(task: str, unit: Unit) -> str:
    return f"{task} {unit.key}"


def _untitled(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "task"}


def _kept(records: Iterator[Record], path: Path | None, head: dict[str, Any], known: dict[str, Record]) -> Iterator[Record]:
    """Pass records on, each written to the file before."""
    if path is None:
        yield from records
        return
    with path.open("w", encoding="utf-8") as file:  # written anew: a line that was cut in two is gone
        for row in ({"head": head}, *known.values()):
            file.write(json.dumps(row) + "\n")
        for record in records:
            file.write(json.dumps(record) + "\n")
            file.flush()
            yield record


def _known(path: Path, head: dict[str, Any]) -> dict[str, Record]:
    """Records of a run that was cut; raises ``BadInput`` where it was another run."""
    if not path.exists():
        return {}
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the line that was being written
            break
    if not rows or json.loads(json.dumps(head)) != rows[0].get("head"):
        raise BadInput(f"{path} is of a run with other flags or another model. Give the same ones, or leave out --resume to start anew.")
    return {f"{row['task']} {row['key']}": row for row in rows[1:]}


def part(exam: Exam, records: Sequence[Record]) -> dict[str, Any]:
    """What a file of results holds of one task."""
    layouts = {size: [row["layout"] for row in records if row["kind"] == "solve" and row["size"] == size] for size in exam.sizes}
    return {
        "n_found": {str(size): {"problems": len(rows), "layouts": len(set(rows))} for size, rows in layouts.items()},
        "exam": exam.to_dict(), "settings": {name: exam.settings(name).to_dict() for name in exam.conditions if name != "direct"},
        "summary": summarise(records), "records": list(records),
    }  # fmt: skip


def read_parts(path: Path) -> dict[str, dict[str, Any]]:
    """Task -> its part of a file of results, of one task or of several; raises ``BadInput`` where it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        parts = data["tasks"] if "tasks" in data else {data["exam"]["task"]: data}
        return {task: {**rows, "model": data["model"]["name"], "exam": Exam.from_dict(rows["exam"])} for task, rows in parts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is no file of results. Give one that python -m agents.evaluate --json wrote.") from error
