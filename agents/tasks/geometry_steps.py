"""Geometry questions as data, and the steps a teacher takes to draw the auxiliary line."""

from __future__ import annotations

from dataclasses import dataclass

from agents.tasks.figure import Figure, Point, Sheet, segment


@dataclass(frozen=True)
class Step:
    """One thing to draw: ``act`` is "mark" (a point ``p``) or "connect" (``p`` and ``q``); ``why`` says in words what for."""

    act: str
    p: Point
    q: Point | None = None
    why: str = ""

    @property
    def ends(self) -> tuple[Point, ...]:
        """The points that it draws at, the upper or left one first: two steps that draw the same have the same."""
        return tuple(sorted(point for point in (self.p, self.q) if point))


@dataclass(frozen=True)
class Given:
    """A number that the question states: ``what`` is "length", "angle" (vertex in the middle), "area" or "square" (units a square)."""

    what: str
    points: tuple[Point, ...]
    value: int


@dataclass(frozen=True)
class Asked:
    """What is wanted of which points: "length", "distance" (of the first from the line of the others), "angle" (vertex in the
    middle), "area" (of a polygon), "equal" or "nearer" (the first, compared with the two others)."""

    what: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Question:
    """A figure and a question in words, with the gold steps and the gold answer.

    ``to_scale`` says that the paper can be measured; otherwise the given numbers hold and the paper shows only how things lie.
    ``uses`` are the letters of the points that the answer is computed from.
    """

    kind: str
    figure: Figure
    words: str
    steps: tuple[Step, ...]
    answer: str
    reason: str
    given: tuple[Given, ...]
    asked: Asked
    to_scale: bool
    uses: tuple[str, ...]

    @property
    def start(self) -> Sheet:
        return Sheet(self.figure)

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """The sheet before the first step and after each step."""
        sheets = [self.start]
        for step in self.steps:
            sheets.append(apply(sheets[-1], step))
        return tuple(sheets)


def apply(sheet: Sheet, step: Step) -> Sheet:
    """The sheet with the step drawn."""
    return sheet.mark(step.p) if step.q is None else sheet.connect(step.p, step.q)


def drawn(sheet: Sheet, step: Step) -> bool:
    """Whether the sheet shows what the step draws."""
    return step.p in sheet.marks if step.q is None else segment(step.p, step.q) in sheet.lines


def next_step(question: Question, sheet: Sheet) -> Step | None:
    """The first gold step that the sheet does not show yet; None where all is drawn."""
    return next((step for step in question.steps if not drawn(sheet, step)), None)
