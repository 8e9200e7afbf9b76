"""What the model says of a figure, read again: its verdict, and whether its own words bear it out.

A reply tells what is seen, then what was due, then the verdict. Where it says "correct" of what it has just read to be something else, its
reading counts and not its conclusion: looking is harder than holding two steps against each other, and the reply shows both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agents.tasks.figure import SIDE, Point
from agents.tasks.geometry_rules import FAULTS, Verdict, nearest, nearest_point
from agents.tasks.geometry_steps import Step
from agents.tasks.geometry_words import DAMAGE, parse_reading, parse_step, verdict_words
from agents.tasks.maze_words import cell_at

NOTICED, DOUBTFUL = 0.2, 0.7
"""Chances of the most doubted square to be wrong from which it says where a picture is wrong, and from which it says that it is."""
HARDLY = 0.4
"""A place that is named is hardly doubted below this share of what the most doubted square is."""
_KINDS = {words: kind for kind, words in FAULTS.items()}
_CORRECT = re.compile(r"\bcorrect \.", re.IGNORECASE)
_ENDS = re.compile(r"\b(?:correct|wrong) \..*", re.IGNORECASE | re.DOTALL)
_WRONG = re.compile(r"wrong \. (?P<fault>[a-z ]+?)(?: at (?P<point>[a-h][1-8]))? \.")
_SEEN = re.compile(r"see : (?P<seen>.+?) \. (?P<due>.*)")


def parse_verdict(text: str) -> tuple[bool, str | None, Point | None]:
    """(ok, kind of fault, point) of a verdict in words; words that are no verdict count as wrong without a named fault."""
    text = " ".join(text.split())
    verdict = _placed(text, _borne_out(text, _concluded(text)))
    return verdict.ok, verdict.fault, verdict.where


def objection(text: str, doubts: Sequence[float] = ()) -> str:
    """A reply as a redraw is told it: with the verdict that its words bear out, and the squares that the model takes for wrong.

    ``doubts`` are the chances of SIDE x SIDE squares to be wrong. Where one is large, a picture is not correct; and where damage is, they
    know better than words that name a place which is hardly doubted.
    """
    said = Verdict(*parse_verdict(text))
    verdict = _seen_by(doubts, text, said) if doubts else said
    return _ENDS.sub(verdict_words(verdict), text) if verdict != _concluded(text) else text


def _concluded(text: str) -> Verdict:
    """The verdict that a reply ends with."""
    if _CORRECT.search(text):
        return Verdict(True)
    match = _WRONG.search(text.lower())
    if match is None:
        return Verdict(False)
    return Verdict(False, _KINDS.get(match["fault"]), _place_at(match["point"]) if match["point"] else None)


def _borne_out(text: str, said: Verdict) -> Verdict:
    """The conclusion, or what is read: where that is not "correct", is a wrong step although it "cannot be read", or is elsewhere."""
    if said.ok:
        return contradiction(text) or said
    due, seen, _ = _told(text)
    held = _held_against(due, seen) if seen else None
    if held is None or said.fault not in ("unreadable", "too_early", held.fault):
        return said
    there = (step.ends for step in seen if step.q or said.fault not in ("too_early", "line_elsewhere", "extra_line"))
    fine = due.ends if due and said.fault == "line_elsewhere" else ()
    return said if said.fault != "unreadable" and said.where not in fine and any(said.where in ends for ends in there) else held


def _placed(text: str, verdict: Verdict) -> Verdict:
    """A figure is changed at one of its own points: the one nearest to what is named."""
    known, where = parse_reading(text).values(), verdict.where
    if verdict.fault != "figure_changed" or where is None or where in known:
        return verdict
    return replace(verdict, where=nearest(known, where) or where)


def _seen_by(doubts: Sequence[float], text: str, said: Verdict) -> Verdict:
    """A verdict with its place, or a wrong one instead of "correct", by the square that is doubted most."""
    most = max(doubts)
    row, column = divmod(doubts.index(most), SIDE)
    fault = "figure_changed" if said.ok and most > DOUBTFUL else said.fault
    if fault not in ("figure_changed", "unreadable") or most < NOTICED:
        return said
    if said.where is not None and most * HARDLY < max(doubts[r * SIDE + c] for r, c in _around(said.where, fault)):
        return said
    known = parse_reading(text).values()
    return Verdict(False, fault, (row + 1, column + 1) if fault == "unreadable" else nearest_point(known, (row, column)) or said.where)


def _around(point: Point, fault: str) -> list[tuple[int, int]]:
    """The squares at which a fault shows that is named by a point: its own one, where that names a square, or those near a point."""
    row, column = point
    if fault == "unreadable":
        return [(row - 1, column - 1)]
    return [(r, c) for r in range(max(row - 2, 0), min(row + 2, SIDE)) for c in range(max(column - 2, 0), min(column + 2, SIDE))]


def contradiction(text: str) -> Verdict | None:
    """What a reply sees that speaks against "correct": damage, or another step than the one that it names as due.

    None where it agrees with itself, or does not tell what it sees.
    """
    due, seen, others = _told(text)
    for fault, word in DAMAGE.items():
        for kind, _, place in (item.partition(" ") for item in others):
            if kind == word:
                return Verdict(False, fault, _place_at(place) if place else None)
    return None if others else _held_against(due, seen)


def _told(text: str) -> tuple[Step | None, list[Step], list[str]]:
    """The step that a reply names as due, those that it sees, and what else it sees; a reply that does not tell it sees something else."""
    told = _SEEN.search(text)
    if told is None:
        return None, [], [text]
    items = [] if told["seen"] == "none" else told["seen"].split(" , ")
    steps = [parse_step(item) for item in items]
    return (
        parse_step(told["due"]), [step for step in steps if step],
        [item for item, step in zip(items, steps, strict=True) if step is None],
    )  # fmt: skip


def _held_against(due: Step | None, seen: list[Step]) -> Verdict | None:
    """What is wrong with steps seen where one was due, or none; None where they are the same."""
    if due is None:
        return _extra(seen[0], ()) if seen else None
    others = [step for step in seen if step.ends != due.ends]
    if not others:
        return None if seen else Verdict(False, "stayed")
    step = others[0]
    if len(others) < len(seen) or (due.q and not step.q):
        return _extra(step, due.ends)
    if not step.q:
        return Verdict(False, "mark_elsewhere", step.p)
    if not due.q:
        return Verdict(False, "too_early", due.p if due.p in step.ends else step.ends[-1])
    return Verdict(False, "line_elsewhere", min(set(step.ends) - set(due.ends)))


def _extra(step: Step, due: Sequence[Point]) -> Verdict:
    strange = [end for end in step.ends if end not in due]
    return Verdict(False, "extra_line" if step.q else "extra_mark", strange[0] if len(strange) == 1 else step.ends[-1])


def _place_at(name: str) -> Point | None:
    """The point that a verdict names: on the paper, or on the edge of it where it is the corner of a square."""
    cell = cell_at(name)
    return (cell[0] + 1, cell[1] + 1) if cell and max(cell) < SIDE else None
