"""What the model says of a figure, read again: its verdict, and whether its own words bear it out.

A reply tells what is seen, then what was due, then the verdict. Where it says "correct" of what it has just read to be something else, its
reading counts and not its conclusion: looking is harder than holding two steps against each other, and the reply shows both. Where the
pixels were looked at too, what was seen there counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agents.tasks.figure import SIDE, Point, point_name
from agents.tasks.geometry_rules import FAULTS, Verdict, nearest
from agents.tasks.geometry_steps import Step
from agents.tasks.geometry_words import DAMAGE, parse_reading, parse_step, step_words, verdict_words
from agents.tasks.maze_words import cell_at

LIKELY = 0.17
"""Chance of the most likely damaged square from which a picture is taken for damaged. Fitted on drawings of the split val."""
_KINDS = {words: kind for kind, words in FAULTS.items()}
_CORRECT = re.compile(r"\bcorrect \.", re.IGNORECASE)
_ENDS = re.compile(r"\b(?:correct|wrong) \..*", re.IGNORECASE | re.DOTALL)
_WRONG = re.compile(r"wrong \. (?P<fault>[a-z ]+?)(?: at (?P<point>[a-h][1-8]))? \.")
_DRAWN = re.compile(r" drawn (?P<drawn>.+?) \. ")
_SEEN = re.compile(r"see : (?P<seen>.+?) \. (?P<due>.*)")


def parse_verdict(text: str) -> tuple[bool, str | None, Point | None]:
    """(ok, kind of fault, point) of a verdict in words; words that are no verdict count as wrong without a named fault."""
    text = " ".join(text.split())
    verdict = _placed(text, _borne_out(text, _concluded(text)))
    return verdict.ok, verdict.fault, verdict.where


def objection(text: str, damage: Sequence[float] = (), kinds: Sequence[str] = ()) -> str:
    """A reply as a redraw is told it: with the verdict that its words bear out, and with what is seen in the pixels.

    ``damage`` has the chances of SIDE x SIDE squares to be damaged, or of the points at their lower right corners to be changed, ``kinds``
    what each then is, or what is new at that point. Eyes know better than words whether a picture is damaged, where, and what was drawn;
    what was due only the words know.
    """
    verdict = Verdict(*parse_verdict(text))
    if damage and max(damage) > LIKELY:
        verdict = _damaged(damage, kinds, text)
    elif damage:
        text = _with_steps(text, _drawn(kinds))
        verdict = _stepped(text, verdict)
    told = _ENDS.sub(verdict_words(verdict), text) if verdict != _concluded(text) else text
    return told if Verdict(*parse_verdict(told)) == verdict else _with_damage(told, verdict)


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


def _damaged(damage: Sequence[float], kinds: Sequence[str], text: str) -> Verdict:
    """The verdict on a damaged picture: at the square that is most likely so, or the point of the figure or of what was drawn before at its
    lower right corner."""
    worst = damage.index(max(damage))
    where = tuple(number + 1 for number in divmod(worst, SIDE))
    if kinds[worst] == "missed":
        return Verdict(False, "line_lost" if where in _lines_before(text) else "mark_lost", where)
    return Verdict(False, "figure_changed" if where in parse_reading(text).values() else "unreadable", where)


def _lines_before(text: str) -> set[Point]:
    """The ends of the lines that a reply names as drawn before."""
    told = _DRAWN.search(text)
    lines = re.findall(r"([a-h][1-8]) to ([a-h][1-8])", told["drawn"]) if told else []
    return {point for line in lines for name in line if (point := _place_at(name))}


def _drawn(kinds: Sequence[str]) -> list[Step] | None:
    """The steps that are seen; None where ends of lines do not make up one line."""
    marks, ends = ([(square // SIDE + 1, square % SIDE + 1) for square, kind in enumerate(kinds) if kind == what]
                   for what in ("marked", "ended"))  # fmt: skip
    if len(ends) not in (0, 2):
        return None
    return [*(Step("mark", mark) for mark in marks), *([Step("connect", *ends)] if ends else [])]


def _with_damage(text: str, verdict: Verdict) -> str:
    """A reply that sees this damage and nothing else: a step that is not the due one would count for more."""
    told = _SEEN.search(text)
    if told is None or verdict.where is None:
        return text
    return f"{text[: told.start('seen')]}{DAMAGE[verdict.fault or 'unreadable']} {point_name(verdict.where)}{text[told.end('seen') :]}"


def _with_steps(text: str, steps: Sequence[Step] | None) -> str:
    """A reply that sees these steps, and nothing that is damaged; of steps that are not known those that it sees itself."""
    told = _SEEN.search(text)
    if told is None:
        return text
    own = [item for item in told["seen"].split(" , ") if parse_step(item)]
    items = own if steps is None or _ends(steps) == _ends(map(parse_step, own)) else [step_words(step).removesuffix(" .") for step in steps]
    return text[: told.start("seen")] + (" , ".join(items) or "none") + text[told.end("seen") :]


def _ends(steps: Iterable[Step | None]) -> list[tuple[Point, ...]]:
    return sorted(step.ends for step in steps if step)


def _stepped(text: str, said: Verdict) -> Verdict:
    """The verdict on a whole picture: on the step alone, where the reply tells one."""
    due, seen, others = _told(text)
    return said if others else _held_against(due, seen) or Verdict(True)


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
