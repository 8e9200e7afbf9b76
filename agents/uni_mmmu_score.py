"""Scores of the maze part of Uni-MMMU, by the benchmark's rules and from the files alone: folders of any model can be scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.statistics import Share, mean, percent, share
from agents.tasks import foreign, maze
from agents.uni_mmmu import Case, case_folder, open_picture, read_result
from unimm.document import Image
from unimm.errors import BadInput

BETWEEN = "\n\n\n-----\n\n\n"
"""Stands between the texts of several candidates in model_text.txt."""
METRICS = ("image_sample", "image_step", "text_sample", "text_step", "parse")
SAMPLES = ("image_sample", "text_sample")


def score_folder(cases: Sequence[Case], out: Path) -> dict[str, Any]:
    """Every metric as the mean over candidates of the case folders present, and with missing cases as 0; one record a candidate.

    ``held_out`` has the sample accuracies on wall layouts that our training never sees: there are only 192 layouts, so most
    of the benchmark's boards share theirs with boards of our training split.
    """
    if not (out / "maze").is_dir():
        raise BadInput(f"{out} holds no folder 'maze' with results. Give the folder that a run wrote to with --out.")
    present = [case for case in cases if case_folder(out, case).is_dir()]
    rows = [row for case in present for row in _score_case(case, case_folder(out, case))]
    missing = len(cases) - len(present)
    metrics = {name: mean(row[name] for row in rows) for name in METRICS}
    held_out = [row for row in rows if row["layout"] in ("val", "test")]
    return {
        "n": len(rows), "cases_done": len(present), "cases_total": len(cases), **metrics,
        "intervals": {name: share(row[name] for row in rows).to_dict() for name in SAMPLES},
        "missing_as_zero": {name: sum(row[name] for row in rows) / (len(rows) + missing) if rows or missing else None for name in METRICS},
        "held_out": {"n": len(held_out), **{name: share(row[name] for row in held_out).to_dict() for name in SAMPLES}},
        "cases": rows,
    }  # fmt: skip


def _score_case(case: Case, folder: Path) -> list[dict[str, Any]]:
    start = _start(case, folder)
    text = folder / "model_text.txt"
    texts = text.read_text(encoding="utf-8", errors="replace").split(BETWEEN) if text.exists() else []
    candidates = sorted(path for path in folder.glob("cand_*") if path.is_dir())
    return [
        _score_candidate(case, start, number, *(rows[number] if number < len(rows) else None for rows in (candidates, texts)))
        for number in range(max(len(candidates), len(texts), 1))
    ]


def _start(case: Case, folder: Path) -> Image:
    """The start picture as the result names it (the rule), or the data's where that path leads nowhere from here."""
    named = read_result(folder).get("step0")
    path = Path(named) if isinstance(named, str) and Path(named).is_file() else case.start
    return open_picture(path)


def _score_candidate(case: Case, start: Image, number: int, folder: Path | None, text: str | None) -> dict[str, Any]:
    text = text or ""
    files = sorted(path for path in folder.iterdir() if "." in path.name) if folder else []
    tables, expected = [foreign.parse(_frame(path)) for path in files], foreign.expected_tables(start, case.moves)
    begun = foreign.parse(start)
    right = sum(one == other for one, other in zip(tables, expected, strict=False))
    text_sample, text_step = foreign.text_scores(text, case.moves)
    return {
        "id": case.id, "candidate": number + 1, "moves_true": list(case.moves), "moves_said": foreign.answered_moves(text),
        "frames": len(files), "image_sample": float(tables == expected), "image_step": right / len(expected),
        "text_sample": float(text_sample), "text_step": text_step, "parse": mean(parses(table, begun) for table in tables) or 0.0,
        "layout": layout(begun),
    }


def layout(start: foreign.Table) -> str:
    """Which split the walls of a start picture belong to: "train" was seen in training, "val" and "test" were not."""
    if any(value == "?" for row in start for value in row):
        return "unreadable"
    return maze.split_of(maze.Board.of([maze.WALL if value == "#" else maze.FLOOR for value in row] for row in start))


def _frame(path: Path) -> Image:
    """A frame of any model; what cannot be opened counts as a picture without a board."""
    try:
        return open_picture(path)
    except BadInput:
        return Image(1, 1, b"\xff\xff\xff")


def parses(table: foreign.Table, start: foreign.Table) -> float:
    """1.0 where a frame is a whole board: the start's walls, nothing unknown, and one agent and one goal, or both in one cell."""
    walls = all((a == "#") == (b == "#") for row, other in zip(table, start, strict=True) for a, b in zip(row, other, strict=True))
    marks = sorted(value for row in table for value in row if value not in ("#", " "))
    return float(walls and marks in (["G", "S"], ["SG"]))


def table(scores: dict[str, Any], mode: str) -> str:
    """The scores for people, in per cent."""
    lines = [f"Uni-MMMU maze, {mode}: {scores['cases_done']} of {scores['cases_total']} cases, {scores['n']} candidates"]
    for name in METRICS:
        between = scores["intervals"].get(name)
        value = str(Share(**between)) if between else percent(scores[name])
        lines.append(f"  {name:<13} {value:<22} missing as 0: {percent(scores['missing_as_zero'][name])}")
    held_out = scores["held_out"]
    images, texts = (Share(**held_out[name]) for name in SAMPLES)
    lines.append(f"  layouts held out from our training: {held_out['n']} candidates, image_sample {images}, text_sample {texts}")
    return "\n".join(lines)
