"""Geometry: the line that helps is drawn into a figure step by step; what is drawn is read from the pixels and checked."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from einops import reduce

from agents.tasks import geometry_words as said
from agents.tasks.figure import Point, Sheet, point_name
from agents.tasks.geometry_mistakes import corrupt
from agents.tasks.geometry_pictures import SHOWN_PX, SQUARE_PX, render
from agents.tasks.geometry_problem import GROUPS, SPLITS, Problem, figure_from, kinds, paint, problem
from agents.tasks.geometry_questions import shape_key
from agents.tasks.geometry_reader import Reading, read, unlike
from agents.tasks.geometry_rules import FAULTS, Verdict, changed_point, changed_points, judge, nearest_point, wrong_points
from agents.tasks.geometry_shown import picture_words
from agents.tasks.geometry_sights import Sights, corners, news, redrawn
from agents.tasks.geometry_steps import Question, apply, next_step
from agents.tasks.geometry_verdicts import objection, parse_verdict
from agents.tasks.geometry_words import DAMAGE, DAMAGED, done
from unimm.document import Document, Image, Text

__all__ = [
    "DAMAGE", "FAULTS", "GROUPS", "RULES", "SPLITS", "Check", "Problem", "Score", "Solution", "asks", "check", "done", "figure_from",
    "gold_document", "kinds", "layout", "moment", "objection", "paint", "parse_answer", "parse_verdict", "picture_words", "place_name",
    "places", "problem", "read", "render", "request", "score", "seen", "sights", "solve", "verdict_words", "wear",
]  # fmt: skip

RULES = (
    "The picture is squared paper of 8 x 8 squares with a figure in dark ink, whose points are corners of squares and bear letters. "
    "Points are named by a column letter and a row number: a1 is one square to the right of and below the top left corner of the "
    "picture, g7 one square before the bottom right corner. The line that helps to answer the question (an altitude, a median, a "
    "midline, a bisector, a parallel, a diagonal, a radius or a chord) is drawn in orange, one step a picture: first a dot marks each "
    "new point that the line needs, then a straight line connects two points. Each next picture shows one more such step, and nothing "
    "else changes; when the line is there, nothing is left to draw."
)
_DIFFERS, _DIFFERENT_PX = 48, 8
"""Levels by which a pixel is another one, and how many such pixels a token has that shows something else."""
_ANSWER = re.compile(r"\banswer\s*(?::|=|is)\s*([a-z0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Solution:
    """The sheet after each gold step, and the answer."""

    frames: tuple[Sheet, ...]
    answer: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """The program's verdict on a drawn sheet: kind of fault, its point, the whole verdict in words, and the tokens that changed."""

    ok: bool
    fault: str | None
    where: Point | None
    words: str
    changed: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Score:
    """How a whole run went.

    ``drawn``: all pictures legal from the start, and the last one shows exactly the lines that help. ``answer_right``: the answer is
    the gold one. ``solved``: both. ``legal_frames``: pictures before the first wrong one, out of ``frames``; ``fault`` and ``where``
    are what was wrong with that one.
    """

    solved: bool
    drawn: bool
    answer_right: bool
    legal_frames: int
    frames: int
    fault: str | None = None
    where: Point | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "where": list(self.where) if self.where else None}


def asks(problem: Problem) -> dict[str, str]:
    return {name: said.ask_words(name, problem.question) for name in said.INSTRUCTIONS}


def request(problem: Problem) -> str:
    return problem.question.words


def solve(problem: Problem) -> Solution:
    return Solution(problem.question.sheets[1:], (problem.question.answer,))


def check(problem: Problem, before: Image, after: Image) -> Check:
    """Is ``after`` the right next sheet of ``before``? Read from the pixels.

    Ends of lines count as right within END_TOLERANCE_PX, and lines within ASIDE_TOLERANCE_PX, of their places (geometry_strokes).
    """
    question = problem.question
    start = read(before, question.figure).sheet or question.start
    verdict, sheet, damaged = seen(question, start, after)
    words = said.judged_words(next_step(question, start), start, sheet, verdict, damaged)
    return Check(verdict.ok, verdict.fault, verdict.where, words, _changed(before, after))


def seen(question: Question, before: Sheet, after: Image) -> tuple[Verdict, Sheet | None, tuple[Point, ...]]:
    """The verdict on a picture that follows on the sheet ``before``, the sheet that is read in it (None where none is), and where there
    is what cannot be read, in reading order.

    A figure counts as changed where another one can be read; what is neither that nor the given one is damage, named square by square.
    """
    reading = read(after, question.figure)
    verdict = _judged(question, before, reading)
    if verdict.fault == "figure_changed":
        shown = read(after).sheet
        point = None if shown is None else changed_point(question.figure, shown.figure)
        verdict = replace(verdict, where=point) if point else Verdict(False, "unreadable")
    if verdict.fault != "unreadable" or not reading.unclear:
        return verdict, reading.sheet, ()
    damaged = tuple((r + 1, c + 1) for r, c in sorted(reading.unclear))
    return replace(verdict, where=damaged[0]), reading.sheet, damaged


def places(problem: Problem, before: Image, after: Image) -> frozenset[Point]:
    """Points at which a wrong picture is wrong: where points, marks, letters or ends of lines are that should not be, or are gone. Where it
    is damaged, the squares that cannot be read or do not look as they are to look after this step."""
    question = problem.question
    start = read(before, question.figure).sheet or question.start
    verdict, sheet, damaged = seen(question, start, after)
    if verdict.ok:
        return frozenset()
    due = next_step(question, start)
    right = apply(start, due) if due else start
    if verdict.fault in DAMAGED or sheet is None:
        return _damage(question, verdict, damaged, after, redrawn(before, start, right))
    return wrong_points(start, right, sheet)


def sights(question: Question, before: Image, after: Image, start: Sheet | None = None) -> Sights:
    """What there is to see on a picture: where it is damaged, whatever is due, and what is new on it or gone. ``start`` is the sheet that
    the picture before shows, where that is known."""
    start = start or read(before, question.figure).sheet or question.start
    verdict, sheet, damaged = seen(question, start, after)
    shown = sheet or start
    found: frozenset[Point] = frozenset()
    if verdict.fault in DAMAGED:
        found = _damage(question, verdict, damaged, after, redrawn(before, start, shown))
    return news(start, shown) | {"damaged": found}


def wear(question: Question, picture: Image) -> np.ndarray:
    """How many percent of what makes it damaged every square of a picture has, row by row [SIDE * SIDE]. The figure can be seen in it."""
    return np.rint(100 * np.array(read(picture, question.figure).wear)).astype(np.int64)


def _damage(question: Question, verdict: Verdict, damaged: Sequence[Point], after: Image, right: Image) -> frozenset[Point]:
    """Where a picture of a DAMAGED verdict, that is to look like the ``right`` one, is damaged."""
    shown = read(after).sheet if verdict.fault == "figure_changed" else None
    changed = frozenset(damaged) if shown is None else changed_points(question.figure, shown.figure)
    return changed | corners(unlike(after, right))


def _judged(question: Question, before: Sheet, reading: Reading) -> Verdict:
    due = next_step(question, before)
    return _verdict(question, before, apply(before, due) if due else None, reading)


def _verdict(question: Question, before: Sheet, right: Sheet | None, reading: Reading) -> Verdict:
    """Colour that is no mark or line cannot be read; else damage comes first, as the figure is what all lines are drawn into."""
    if reading.stray:
        r, c = reading.unclear[0]
        return Verdict(False, "unreadable", (r + 1, c + 1))
    if reading.sheet is not None and reading.unclear:
        return Verdict(False, "figure_changed", nearest_point(question.figure.at.values(), reading.unclear[0]))
    return judge(before, right, reading.sheet)


def _changed(before: Image, after: Image) -> tuple[tuple[int, int], ...]:
    one, other = (_pixels(image) for image in (before, after))
    differs = np.abs(one.astype(np.int16) - other).max(-1) > _DIFFERS
    counts = reduce(differs.astype(np.int64), "(row y) (col x) -> row col", "sum", y=SQUARE_PX, x=SQUARE_PX)
    return tuple((int(r), int(c)) for r, c in np.argwhere(counts >= _DIFFERENT_PX))


def _pixels(image: Image) -> np.ndarray:
    if (image.width, image.height) == (SHOWN_PX, SHOWN_PX):
        return np.frombuffer(image.rgb, np.uint8).reshape(SHOWN_PX, SHOWN_PX, 3)
    return np.asarray(image.to_pil().resize((SHOWN_PX, SHOWN_PX)))


def score(problem: Problem, frames: Sequence[Image], answer: Sequence[str] = ()) -> Score:
    """How right the drawn pictures and the answer are; the first picture follows on the problem's own one."""
    question = problem.question
    before, verdict, legal = question.start, Verdict(True), 0
    for frame in frames:
        reading = read(frame, question.figure)
        verdict = _judged(question, before, reading)
        if not verdict.ok or reading.sheet is None:
            break
        before, legal = reading.sheet, legal + 1
    drawn = bool(frames) and legal == len(frames) and judge(question.sheets[-1], None, before).ok
    right = bool(answer) and answer[0].casefold() == question.answer.casefold()
    return Score(drawn and right, drawn, right, legal, len(frames), verdict.fault, verdict.where)


def parse_answer(text: str) -> tuple[str, ...]:
    """The value that is answered, without the reason; () where there is none."""
    found = _ANSWER.search(text)
    return (found[1],) if found else ()


def verdict_words(ok: bool, fault: str | None = None, where: Point | None = None) -> str:
    return said.verdict_words(Verdict(ok, fault, where))


def moment(rng: random.Random, problem: Problem) -> tuple[Image, list[tuple[Image, bool, str | None, Point | None]]]:
    """One right and two different wrong next sheets at a random moment of the construction; the faults are exact."""
    sheets = problem.question.sheets
    at = rng.randrange(len(sheets) - 1)
    before, right = sheets[at], sheets[at + 1]
    shown = [right]
    for _ in range(20):
        wrong = corrupt(rng, before, right)
        if wrong not in shown:
            shown.append(wrong)
        if len(shown) == 3:
            break
    truths = [(sheet, judge(before, right, sheet)) for sheet in shown]
    return render(before), [(render(sheet), truth.ok, truth.fault, truth.where) for sheet, truth in truths]


def place_name(place: Point) -> str:
    return point_name(place)


def layout(problem: Problem) -> str:
    """Equal for figures of one shape, wherever they lie on the paper and however they are turned."""
    return shape_key(problem.question)


def gold_document(problem: Problem, mistakes: float = 0.25) -> Document:
    """A whole right conversation: thoughts, pictures (a share of them wrong first, with the verdict and the right one), answer."""
    rng, question, asked = random.Random(problem.id), problem.question, asks(problem)
    document, before = Document().user(problem.image, Text(asked["next"])), question.start
    for after in solve(problem).frames:
        thought = Text(said.think_words(question, before))
        if rng.random() < mistakes:
            wrong = corrupt(rng, before, after)
            words = said.judged_words(next_step(question, before), before, wrong, judge(before, after, wrong))
            document = document.assistant(thought, render(wrong)).user(Text(asked["judge"])).assistant(Text(words), render(after))
        else:
            document = document.assistant(thought, render(after))
        document, before = document.user(Text(asked["next"])), after
    document = document.assistant(Text(said.think_words(question, before))).user(Text(asked["answer"]))
    return document.assistant(Text(said.answer_words(question)))
