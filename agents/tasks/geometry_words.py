"""Geometry in words: what the model is trained to say, and how what it says is read again."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from agents.tasks.figure import SIDE, Figure, Point, Segment, Sheet, point_at, point_name, segment
from agents.tasks.geometry_lattice import midpoint
from agents.tasks.geometry_rules import FAULTS, Verdict
from agents.tasks.geometry_steps import Question, Step, apply, next_step

INSTRUCTIONS: dict[str, str] = {
    "next": "geometry next",
    "judge": "geometry judge",
    "answer": "geometry answer",
    "direct": "geometry direct",
    "describe": "geometry describe",
}
_STEP = re.compile(r"\b(?:mark (?P<p>[a-p]\d{1,2})|connect (?P<q>[a-p]\d{1,2}) to (?P<r>[a-p]\d{1,2}))\b")
_READ = re.compile(r"\b([A-Z]) ([a-p]\d{1,2})\b")
_ANSWER = re.compile(r"answer : (\S+)")
_WAY = re.compile(r"\bfrom [A-Z] \w+ to [A-Z] \w+$")
_TO_LINE = re.compile(r"\baltitude from [A-Z] \w+ to ")


def ask_words(what: str, question: Question) -> str:
    """The request in words: ``what`` is a key of INSTRUCTIONS."""
    return INSTRUCTIONS[what] if what == "describe" else f"{INSTRUCTIONS[what]} : {question.words}"


def describe_words(figure: Figure) -> str:
    """Where the lettered points are."""
    return " ".join(f"{letter} {point_name(point)} ." for letter, point in figure.points)


def seen_words(sheet: Sheet) -> str:
    """Where the lettered points are, and what is drawn in: marks, then lines from end to end."""
    drawn = [*map(point_name, sorted(sheet.marks)), *(f"{point_name(p)} to {point_name(q)}" for p, q in sorted(sheet.lines))]
    return describe_words(sheet.figure) + (f" drawn {' , '.join(drawn)} ." if drawn else "")


def step_words(step: Step | None) -> str:
    """What is to be drawn, without the reason."""
    if step is None:
        return "done ."
    return f"mark {point_name(step.p)} ." if step.q is None else f"connect {point_name(step.p)} to {point_name(step.q)} ."


def think_words(question: Question, sheet: Sheet) -> str:
    """The right thought before the next picture; "done" where nothing is left to draw."""
    return thought_words(sheet, next_step(question, sheet))


def thought_words(sheet: Sheet, step: Step | None) -> str:
    """The reading of the sheet, why, and what to draw."""
    return f"{seen_words(sheet)} {decided_words(step)}"


def decided_words(step: Step | None) -> str:
    """Why, how a point is found that has no letter, and what to draw."""
    return (f"{step.why} . " if step and step.why else "") + _found_words(step) + step_words(step)


def _found_words(step: Step | None) -> str:
    """Column and row of a point that is not named yet, from what they follow from: those of two points named before, where it is the
    middle of these, or lies straight above or beside some point on their line; a sum, where it is so many squares from another.

    A number beside two others is a small thing to know, a point among three others is one of a thousand.
    """
    if step is None or not (step.q is None or "as far as" in step.why):
        return ""
    point = step.q or step.p
    named = [found for _, name in _READ.findall(step.why) if (found := point_at(name))]
    if step.q is None and re.search(r"\b(midpoint|between)\b", step.why) and len(named) > 1 and midpoint(*named[-2:]) == point:
        return f"middle {beside_words(*named[-2:], point)} . "
    if _TO_LINE.search(step.why):
        return f"at {beside_words(*named[-2:], point)} . "
    if "foot" in step.why or "as far as" in step.why:
        return f"at {beside_words(*named[-3:-1], point)} . "
    if "from both sides" in step.why or _WAY.search(step.why):
        return f"at {squares_words(named[-2] if _WAY.search(step.why) else named[0], point)} . "
    return f"at {point[1]} , {point[0]} . "


def beside_words(p: Point, q: Point, found: Point) -> str:
    """The columns of three points, then their rows."""
    return f"{p[1]} {q[1]} {found[1]} , {p[0]} {q[0]} {found[0]}"


def squares_words(start: Point, end: Point) -> str:
    """Column and row of a point so many squares from another one, "7 - 2 = 5 , 6"; a number by itself where it is the same."""
    return f"{_sum_words(start[1], end[1])} , {_sum_words(start[0], end[0])}"


def _sum_words(start: int, end: int) -> str:
    return f"{start} {'+' if end > start else '-'} {abs(end - start)} = {end}" if end != start else f"{end}"


def parse_step(text: str) -> Step | None:
    """The step that a thought decides on (the last one that it names); None where it names none on the paper."""
    found = list(_STEP.finditer(" ".join(text.split())))
    if not found:
        return None
    names = [found[-1][group] for group in ("p", "q", "r") if found[-1][group]]
    points = [point_at(name) for name in names]
    if any(point is None for point in points) or (len(points) == 2 and points[0] == points[1]):
        return None
    return Step("mark", points[0]) if len(points) == 1 else Step("connect", *points)  # type: ignore[arg-type]


def done(text: str) -> bool:
    """Whether a thought decides that nothing is left to draw."""
    return re.search(r"\bdone\b", text) is not None and parse_step(text) is None


def parse_reading(text: str) -> dict[str, Point]:
    """Letters and the points at which a thought or a description sees them."""
    return {letter: point for letter, name in _READ.findall(text) if (point := point_at(name)) is not None}


def answer_words(question: Question) -> str:
    """The reading of the finished sheet, the reason, and the answer that follows from it."""
    return f"{seen_words(question.sheets[-1])} {reasoned_words(question)}"


def reasoned_words(question: Question) -> str:
    return f"because {question.reason} . answer : {question.answer} ."


def direct_words(question: Question) -> str:
    return f"answer : {question.answer} ."


def parse_answer(text: str) -> str | None:
    """The answer without its reason; None where the text gives none."""
    match = _ANSWER.search(text)
    return match[1] if match else None


def verdict_words(verdict: Verdict) -> str:
    if verdict.ok:
        return "correct ."
    place = f" at {point_name(verdict.where)}" if verdict.where is not None else ""
    return f"wrong . {FAULTS[verdict.fault or 'unreadable']}{place} ."


def judged_words(due: Step | None, before: Sheet, after: Sheet | None, verdict: Verdict, damaged: Sequence[Point] = ()) -> str:
    """The whole verdict as the model gives it: what is there that was not there before, damage too, then the thought that was due, both
    held against each other point by point, and whether that is what was drawn. Who has just said what ought to be there sees it there.

    ``damaged`` are the lower right corners of the squares that cannot be read; MOST of them are named.
    """
    new = [] if after is None else _new(before, after)
    seen = [step_words(step).removesuffix(" .") for step in new]
    seen += [f"{DAMAGE['unreadable']} {point_name(point)}" for point in damaged[:MOST]]
    if verdict.fault in DAMAGE and not damaged:
        seen.append(" ".join((DAMAGE[verdict.fault], *([point_name(verdict.where)] if verdict.where else []))))
    return f"see : {' , '.join(seen) or 'none'} . {thought_words(before, due)} {_held_words(due, new)}{verdict_words(verdict)}"


MOST = 4
"""Squares that cannot be read and are named in a verdict."""
DAMAGED = ("unreadable", "figure_changed")
"""Faults of a sheet on which what was given is not as it was, or what is drawn is nothing at all."""
DAMAGE = {"unreadable": "unreadable", "figure_changed": "changed", "mark_lost": "lost", "line_lost": "lost"}


def _new(before: Sheet, after: Sheet) -> list[Step]:
    """What one sheet shows and the one before does not."""
    marks = [Step("mark", point) for point in sorted(after.marks - before.marks)]
    return [*marks, *(Step("connect", *line) for line in sorted(after.lines - before.lines))]


def _held_words(due: Step | None, new: Sequence[Step]) -> str:
    """What is due beside what is seen of that kind, the upper or left point of a line first; whether points far apart in a text are the
    same is hard to see. Nothing where there is nothing of that kind."""
    wanted = due.ends if due else ()
    alike = [step.ends for step in new if len(step.ends) == len(wanted)]
    if not alike:
        return ""
    return f"check : {same_words(zip(wanted, wanted if wanted in alike else alike[0], strict=True))} . "


def same_words(pairs: Iterable[tuple[Point, Point]]) -> str:
    """Pairs of points, and of each whether it is the same point twice."""
    return " , ".join(f"{point_name(one)} {point_name(other)} {'yes' if one == other else 'no'}" for one, other in pairs)


_LATTICE = tuple((row, column) for row in range(1, SIDE) for column in range(1, SIDE))


def free_thought(rng: random.Random, question: Question, sheet: Sheet) -> tuple[str, Sheet]:
    """A thought that decides on something else than the right step, and the sheet that it asks for."""
    right = next_step(question, sheet)
    while True:
        step = free_step(rng, sheet, right)
        after = apply(sheet, step)
        if after != sheet and (right is None or after != apply(sheet, right)):
            return thought_words(sheet, step), after


SLANTED = 0.2
"""Share of the free lines across the squares' corners that are drawn again: of the lines that help, most run along squares or diagonals."""


def _straight(p: Point, q: Point) -> bool:
    down, right = abs(p[0] - q[0]), abs(p[1] - q[1])
    return down == 0 or right == 0 or down == right


def free_step(rng: random.Random, sheet: Sheet, right: Step | None = None) -> Step:
    """Any step that leaves a trace: a mark off the vertices, or a line that lies on no side and no other line.

    Half of them are near what is ``right``, which also lends its reason.
    """
    why = right.why if right else "try another line"
    taken = {*sheet.figure.at.values(), *sheet.marks}
    kind = right.act if right and rng.random() < 0.7 else rng.choice(("mark", "connect"))
    near = right is not None and rng.random() < 0.5
    while True:
        if kind == "mark":
            p = rng.choice(_beside(right.p) if near and right else _LATTICE)
            if p not in taken:
                return Step("mark", p, None, why)
            near = False
            continue
        ends = _line(rng, sorted(taken), right if near else None)
        if not _straight(*ends) and rng.random() < SLANTED:
            continue
        if ends[0] != ends[1] and not any(overlap(segment(*ends), other) for other in (*sheet.figure.sides, *sheet.lines)):
            return Step("connect", *ends, why)
        near = near and rng.random() < 0.5


def _line(rng: random.Random, taken: list[Point], right: Step | None) -> tuple[Point, Point]:
    if right is not None and right.q is not None:
        kept = rng.choice((right.p, right.q))
        return kept, rng.choice(_beside(right.q if kept == right.p else right.p))
    return rng.choice(taken), rng.choice(taken if rng.random() < 0.5 else _LATTICE)


def _beside(point: Point) -> list[Point]:
    return [other for other in _LATTICE if other != point and max(abs(other[0] - point[0]), abs(other[1] - point[1])) <= 1]


def overlap(one: Segment, other: Segment) -> bool:
    """Whether two segments have more than a point in common."""
    (p, q), (r, s) = one, other
    if any((q[0] - p[0]) * (end[1] - p[1]) != (q[1] - p[1]) * (end[0] - p[0]) for end in (r, s)):
        return False
    return max(p, r) < min(q, s)
