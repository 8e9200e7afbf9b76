"""What the model says of a figure, read again: its verdict, and whether its own words bear it out.

A reply tells what is seen, then what was due, then the verdict. Where it says "correct" of what it has just read to be something else, its
reading counts and not its conclusion: looking is harder than holding two steps against each other, and the reply shows both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agents.tasks.figure import SIDE, Point
from agents.tasks.geometry_rules import FAULTS, Verdict, nearest
from agents.tasks.geometry_steps import Step
from agents.tasks.geometry_words import DAMAGE, DAMAGED, parse_reading, parse_step, verdict_words
from agents.tasks.maze_words import cell_at

LIKELY = 0.2
"""Chance of the most likely damaged square from which a picture is taken for damaged. Fitted on drawings of the split val."""
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


def objection(text: str, damage: Sequence[float] = (), kinds: Sequence[str] = ()) -> str:
    """A reply as a redraw is told it: with the verdict that its words bear out, and with what is seen of damage.

    ``damage`` has the chances of SIDE x SIDE squares to be damaged, or of the points at their lower right corners to be changed. It knows
    better than the words whether a picture is damaged, and where. Of a wrong step only the words know, and ``kinds`` say nothing.
    """
    verdict = Verdict(*parse_verdict(text))
    if damage and (verdict.ok or verdict.fault in DAMAGED):
        if max(damage) > LIKELY:
            verdict = _damaged(damage, text)
        elif not verdict.ok:
            text = _without_damage(text)
            verdict = _stepped(text, verdict)
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


def _damaged(damage: Sequence[float], text: str) -> Verdict:
    """The verdict on a damaged picture: at the square that is most likely so, or the point of the figure at its lower right corner."""
    row, column = divmod(damage.index(max(damage)), SIDE)
    where = (row + 1, column + 1)
    return Verdict(False, "figure_changed" if where in parse_reading(text).values() else "unreadable", where)


def _stepped(text: str, said: Verdict) -> Verdict:
    """The verdict on a whole picture: on the step alone, where the reply tells one."""
    due, seen, others = _told(text)
    return said if others else _held_against(due, seen) or Verdict(True)


def _without_damage(text: str) -> str:
    """A reply that does not see damage."""
    told = _SEEN.search(text)
    if told is None:
        return text
    words = [DAMAGE[fault] for fault in DAMAGED]
    items = [item for item in told["seen"].split(" , ") if item.split()[0] not in words]
    return text[: told.start("seen")] + (" , ".join(items) or "none") + text[told.end("seen") :]


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
