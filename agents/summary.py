"""From the records of ``agents.measure`` to the numbers that are quoted, and to tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agents.measure import EVERY, Record, examined
from agents.statistics import Share, balanced, calibration_error, mean, percent, share, wilson

Rows = Sequence[Record]
NAMES = {
    "direct": "direct answer, no drawing", "first": "first picture kept", "self": "self-critique", "program": "program's critique",
    "best": "best of two drafts", "bold": "first picture, drawn boldly", "mended": "self-critique, drawn boldly",
    "words": "first picture, thought as words", "bare": "first picture, no thought",
}
"""Condition -> what a table calls it."""


def summarise(records: Iterable[Record]) -> dict[str, Any]:
    """``{"boards": {"6": {"self": {...}}, "all": ...}, "critic": {...} or None, "thoughts": {...}}``: plain JSON data.

    The boards are those of a group of problems, whatever the task calls it. "critic" is on pictures made for its exam,
    "critic_own", where it was recorded, on those that were drawn in the runs with self-critique.
    """
    listed = list(records)
    solved = [record for record in listed if record["kind"] == "solve"]
    judged = [picture for record in listed if record["kind"] == "judge" for picture in record["pictures"]]
    own = [picture for record in solved for run in examined(record) for picture in run["judged"]]
    boards = {str(size): _conditions([r for r in solved if r["size"] == size]) for size in _groups(solved)}
    critics = {"critic": _critic(judged) if judged else None} | ({"critic_own": _critic(own)} if own else {})
    return {"boards": boards | ({"all": _conditions(solved)} if solved else {}), **critics,
            "thoughts": _thoughts([record for record in listed if record["kind"] == "thought"])}  # fmt: skip


def _groups(records: Rows) -> list[Any]:
    """The groups in the records: sizes from small to large, others in the order of their first problems."""
    found = list(dict.fromkeys(record["size"] for record in records))
    return sorted(found) if all(isinstance(size, int) for size in found) else found


def _thoughts(records: Rows) -> dict[str, Any]:
    """Kind of thought -> how often the picture was what it asked for, and how often that of the right thought instead."""
    return {
        kind: {"followed": share(row["followed"] for row in rows).to_dict(), "ignored": share(row["ignored"] for row in rows).to_dict()}
        for kind in sorted({record["asked"] for record in records})
        if (rows := [record for record in records if record["asked"] == kind])
    }


def _conditions(records: Rows) -> dict[str, Any]:
    return {name: _condition(rows) for name in EVERY if (rows := [r["runs"][name] for r in records if name in r["runs"]])}


def _condition(runs: Rows) -> dict[str, Any]:
    summary = {
        "n": len(runs), "success": share(run["success"] for run in runs).to_dict(),
        "answer_right": share(run["answer_right"] for run in runs if run["answer_right"] is not None).to_dict(),
        "seconds_a_problem": mean(run["seconds"] for run in runs),
    }
    if "pictures" not in runs[0]:
        return summary
    drawn = sum(run["pictures"] + run["redraws"] for run in runs)
    unchanged = sum(run["unchanged"] for run in runs)
    return summary | {
        "legal": share(run["legal"] for run in runs).to_dict(), "pictures": mean(run["pictures"] for run in runs),
        "redraws": mean(run["redraws"] for run in runs),
        "seconds_a_picture": _ratio(sum(run["seconds"] for run in runs), drawn),
        "seconds_a_drawing": _ratio(sum(run["drawing_seconds"] for run in runs), drawn),
        "unchanged_identical": _ratio(sum(run["identical"] for run in runs), unchanged), "unchanged_cells": unchanged,
        "own_pictures": {name: sum(run["verdicts"].get(name, 0) for run in runs)
                         for name in ("right_passed", "right_refused", "wrong_passed", "wrong_refused")},
    }  # fmt: skip


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _critic(pictures: Rows) -> dict[str, Any]:
    """Recall of right pictures, and per kind of fault recall, balanced accuracy with it, right kind and right cell named."""
    right, wrong = [p for p in pictures if p["ok"]], [p for p in pictures if not p["ok"]]
    passed, kinds = share(p["said_ok"] for p in right), sorted({p["fault"] for p in wrong})
    faults = {kind: _fault([p for p in wrong if (p["fault"] or "unnamed") == kind], passed) for kind in kinds}
    hits = [p["said_ok"] == p["ok"] for p in pictures]
    return {
        "right": len(right), "wrong": len(wrong), "right_passed": passed.to_dict(), **_fault(wrong, passed), "faults": faults,
        "calibration_error": calibration_error([p["confidence"] for p in pictures], hits),
        "confidence": mean(p["confidence"] for p in pictures), "accuracy": share(hits).to_dict(),
    }


def _fault(wrong: Rows, passed: Share) -> dict[str, Any]:
    refused = share(not p["said_ok"] for p in wrong)
    return {
        "n": len(wrong), "wrong_refused": refused.to_dict(), "balanced_accuracy": balanced(refused, passed).to_dict(),
        "kind_named": share(not p["said_ok"] and p["said_fault"] == p["fault"] for p in wrong).to_dict(),
        "cell_named": share(not p["said_ok"] and p.get("there", p["said_where"] == p["where"]) for p in wrong).to_dict(),
    }


# --- tables


def tables(summary: dict[str, Any]) -> str:
    """The summary in words: Markdown tables, shares in per cent with their 95 % intervals."""
    parts = []
    if summary["boards"]:
        parts += [_boards_table(summary["boards"]), _own_pictures(summary["boards"].get("all", {}))]
    if summary["critic"]:
        parts.append(_critic_table(summary["critic"]))
    if summary.get("thoughts"):
        parts.append(_thoughts_table(summary["thoughts"]))
    return "\n\n".join(part for part in parts if part)


def _boards_table(boards: dict[str, Any]) -> str:
    head = ("board", "condition", "n", "solved %", "answer right %", "all frames legal %", "pictures", "redraws", "s/drawing", "s/picture",
            "s/maze", "unchanged cells bit-identical %")  # fmt: skip
    rows = []
    for size, conditions in boards.items():
        for name, row in conditions.items():
            rows.append((
                size if size == "all" else f"{size}x{size}", NAMES[name], str(row["n"]), _share(row["success"]),
                _share(row["answer_right"]), _share(row.get("legal")), _number(row.get("pictures"), 1), _number(row.get("redraws"), 2),
                _number(row.get("seconds_a_drawing"), 3), _number(row.get("seconds_a_picture"), 3),
                _number(row.get("seconds_a_problem", row.get("seconds_a_maze")), 2),  # the latter in files of before
                percent(row.get("unchanged_identical")),
            ))  # fmt: skip
    notes = (
        "Intervals are 95 % (Wilson). Solved: every frame legal, the goal reached, and the answer names the moves drawn (direct: the "
        "answer leads to the goal). s/drawing: the model drawing one picture; s/picture: the whole run over all pictures drawn, thinking, "
        "judging and redraws included."
    )
    return f"{_markdown(head, rows)}\n\n{notes}"


def _own_pictures(conditions: dict[str, Any]) -> str:
    """How the model's verdicts on its own drawings compare with the program's."""
    counts = conditions.get("self", {}).get("own_pictures", {})
    right = counts.get("right_passed", 0) + counts.get("right_refused", 0)
    wrong = counts.get("wrong_passed", 0) + counts.get("wrong_refused", 0)
    if not right + wrong:
        return ""
    passed, refused = wilson(counts["right_passed"], right), wilson(counts["wrong_refused"], wrong)
    return (
        f"On its own drawings (self-critique) the model passes {passed} % of {right} right ones and refuses {refused} % of {wrong} wrong "
        "ones."
    )


def _critic_table(critic: dict[str, Any]) -> str:
    head = ("kind of fault", "n", "called wrong %", "balanced accuracy %", "kind named %", "cell named %")
    rows = [_critic_row(kind.replace("_", " "), row) for kind, row in critic["faults"].items()]
    rows.append(_critic_row("all", critic))
    return (
        f"The critic, on {critic['right']} right and {critic['wrong']} wrong next pictures. Right ones passed: "
        f"{_share(critic['right_passed'])} %. Overall balanced accuracy {_share(critic['balanced_accuracy'])} %, accuracy "
        f"{_share(critic['accuracy'])} %, mean confidence {percent(critic['confidence'])} %, expected calibration error "
        f"{critic['calibration_error']:.4f}.\n\n{_markdown(head, rows)}"
    )


def _critic_row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (name, str(row["n"]), *(_share(row[key]) for key in ("wrong_refused", "balanced_accuracy", "kind_named", "cell_named")))


def _thoughts_table(thoughts: dict[str, Any]) -> str:
    head = ("thought that is not the right one", "n", "picture follows it %", "picture of the right thought instead %")
    names = {"dead ends": "names some of the dead ends", "step": "names another step"}
    rows = [
        (names.get(kind, kind), str(row["followed"]["n"]), _share(row["followed"]), _share(row["ignored"]))
        for kind, row in thoughts.items()
    ]
    return f"Does the picture follow the thought, or only what the model saw?\n\n{_markdown(head, rows)}"


# --- tables of several tasks

SOURCES = {"critic": "made for the exam", "critic_own": "own drawings"}
"""What a critic was asked about -> what a table calls it."""


def suite_tables(summaries: Mapping[str, dict[str, Any]]) -> str:
    """Task -> summary, in words: Markdown tables of success a condition, of self-critique a group, and of the critic."""
    return "\n\n".join(table for table in (_suite(summaries), _suite_groups(summaries), _suite_critics(summaries)) if table)


def _suite(summaries: Mapping[str, dict[str, Any]]) -> str:
    head = ("task", "condition", "n", "success %", "pictures right %", "answer right %", "pictures", "redraws", "s/drawing", "s/picture",
            "s/problem")  # fmt: skip
    rows = [
        (task, NAMES[name], str(row["n"]), _share(row["success"]), _share(row.get("legal")), _share(row["answer_right"]),
         _number(row.get("pictures"), 1), _number(row.get("redraws"), 2), _number(row.get("seconds_a_drawing"), 3),
         _number(row.get("seconds_a_picture"), 3), _number(row["seconds_a_problem"], 2))
        for task, summary in summaries.items() for name, row in summary["boards"].get("all", {}).items()
    ]  # fmt: skip
    notes = (
        "Intervals are 95 % (Wilson). Success: pictures and answer right by the program's score; where the answer is a picture, that one. "
        "s/drawing: the model drawing one picture, decoder included; s/picture: the whole run over all pictures drawn, thinking and "
        "judging included."
    )
    return f"{_markdown(head, rows)}\n\n{notes}" if rows else ""


def _suite_groups(summaries: Mapping[str, dict[str, Any]]) -> str:
    head = ("task", "group", "n", "success %", "pictures right %", "answer right %", "redraws")
    rows = [
        (task, group, str(row["n"]), _share(row["success"]), _share(row["legal"]), _share(row["answer_right"]), _number(row["redraws"], 2))
        for task, summary in summaries.items() for group, conditions in summary["boards"].items()
        if group != "all" and (row := conditions.get("self"))
    ]  # fmt: skip
    return f"Self-critique, a group of problems:\n\n{_markdown(head, rows)}" if rows else ""


def _suite_critics(summaries: Mapping[str, dict[str, Any]]) -> str:
    head = ("task", "pictures", "kind of fault", "right", "wrong", "called wrong %", "balanced accuracy %", "kind named %", "place named %",
            "calibration error")  # fmt: skip
    rows = []
    for task, summary in summaries.items():
        for source, shown in SOURCES.items():
            if critic := summary.get(source):
                error = _number(critic["calibration_error"], 4)
                parts = [(kind.replace("_", " "), row, "") for kind, row in critic["faults"].items()] + [("all", critic, error)]
                rows += [(task, shown, name, str(critic["right"]), *_critic_row(name, row)[1:], last) for name, row, last in parts]
    return f"The critic:\n\n{_markdown(head, rows)}" if rows else ""


def _share(data: dict[str, Any] | None) -> str:
    return str(Share(**data)) if data else "-"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines)
