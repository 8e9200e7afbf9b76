"""What the model says of a figure, read again: its verdict, and whether its own words bear it out.

A reply tells what is seen, then what was due, then the verdict. Where it says "correct" of what it has just read to be something else, its
reading counts and not its conclusion: looking is harder than holding two steps against each other, and the reply shows both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agents.tasks.figure import SIDE, Point
from agents.tasks.geometry_rules import FAULTS, Verdict, nearest_point
from agents.tasks.geometry_steps import Step
from agents.tasks.geometry_words import DAMAGE, parse_reading, parse_step, verdict_words
from agents.tasks.maze_words import cell_at

NOTICED, DOUBTFUL = 0.2, 0.7
"""Chances that a square is wrong from which it is asked where the picture is wrong, and from which it is asked whether it is right."""
_KINDS = {words: kind for kind, words in FAULTS.items()}
_CORRECT = re.compile(r"\bcorrect \.", re.IGNORECASE)
_ENDS = re.compile(r"\b(?:correct|wrong) \..*", re.IGNORECASE | re.DOTALL)
_WRONG = re.compile(r"wrong \. (?P<fault>[a-z ]+?)(?: at (?P<point>[a-h][1-8]))? \.")
_SEEN = re.compile(r"see : (?P<seen>.+?) \. (?P<due>.*)")


def parse_verdict(text: str) -> tuple[bool, str | None, Point | None]:
    """(ok, kind of fault, point) of a verdict in words; words that are no verdict count as wrong without a named fault."""
    text = " ".join(text.split())
    if _CORRECT.search(text):
        verdict = contradiction(text) or Verdict(True)
        return verdict.ok, verdict.fault, verdict.where
    match = _WRONG.search(text.lower())
    if match is None:
        return False, None, None
    return False, _KINDS.get(match["fault"]), _place_at(match["point"]) if match["point"] else None


def objection(text: str, doubts: Sequence[float] = ()) -> str:
    """A reply as a redraw is told it: with the verdict that its words bear out, and the squares that the model takes for wrong.

    ``doubts`` are the chances of SIDE x SIDE squares to be wrong. Where they are large, a picture is not correct; and they know better than
    the words where a figure was changed, which the words have to look up among all that is the same.
    """
    said = Verdict(*parse_verdict(text))
    verdict = said
    if said.ok and max(doubts, default=0.0) > DOUBTFUL:
        verdict = Verdict(False, "figure_changed")
    if verdict.fault == "figure_changed" and max(doubts, default=0.0) > NOTICED:
        square = divmod(max(range(len(doubts)), key=doubts.__getitem__), SIDE)
        verdict = replace(verdict, where=nearest_point(parse_reading(text).values(), square) or verdict.where)
    overruled = verdict != said or bool(_CORRECT.search(text)) != said.ok
    return _ENDS.sub(verdict_words(verdict), text) if overruled else text


def contradiction(text: str) -> Verdict | None:
    """What a reply sees that speaks against "correct": damage, or another step than the one that it names as due.

    None where it agrees with itself, or does not tell what it sees.
    """
    told = _SEEN.search(text)
    if told is None:
        return None
    items = [] if told["seen"] == "none" else told["seen"].split(" , ")
    for fault, word in DAMAGE.items():
        for kind, _, place in (item.partition(" ") for item in items):
            if kind == word:
                return Verdict(False, fault, _place_at(place) if place else None)
    seen = [step for item in items if (step := parse_step(item))]
    return _held_against(parse_step(told["due"]), seen) if len(seen) == len(items) else None


def _held_against(due: Step | None, seen: list[Step]) -> Verdict | None:
    """What is wrong with steps seen where one was due, or none; None where they are the same."""
    if due is None:
        return _extra(seen[0]) if seen else None
    others = [step for step in seen if step.ends != due.ends]
    if not others:
        return None if seen else Verdict(False, "stayed")
    step = others[0]
    if len(others) < len(seen) or (due.q and not step.q):
        return _extra(step)
    if not step.q:
        return Verdict(False, "mark_elsewhere", step.p)
    if not due.q:
        return Verdict(False, "too_early", due.p if due.p in step.ends else step.ends[-1])
    return Verdict(False, "line_elsewhere", min(set(step.ends) - set(due.ends)))


def _extra(step: Step) -> Verdict:
    return Verdict(False, "extra_line" if step.q else "extra_mark", step.ends[-1])


def _place_at(name: str) -> Point | None:
    """The point that a verdict names: on the paper, or on the edge of it where it is the corner of a square."""
    cell = cell_at(name)
    return (cell[0] + 1, cell[1] + 1) if cell and max(cell) < SIDE else None
