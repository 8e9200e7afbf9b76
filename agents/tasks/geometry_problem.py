"""A geometry problem as it is kept and sent: a kind of question, the points of its figure and the seed of its words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

from agents.tasks.figure import Figure, Point
from agents.tasks.geometry_figures import CENTRE
from agents.tasks.geometry_pictures import render
from agents.tasks.geometry_questions import KINDS, SPLITS, Question, draft, rebuild, split_of
from agents.tasks.geometry_reader import read
from unimm.document import Image
from unimm.errors import BadInput

__all__ = ["GROUPS", "SPLITS", "Problem", "figure_from", "kinds", "paint", "problem", "split_of"]

GROUPS: tuple[str, ...] = tuple(KINDS)
_LONGEST_ID, _SEEDS = 200, 2**32


@dataclass(frozen=True)
class Problem:
    """``letters`` are (role, letter), ``points`` (letter, point), both in the order of the figure's corners."""

    kind: str
    letters: tuple[tuple[str, str], ...]
    points: tuple[tuple[str, Point], ...]
    seed: int
    id: str
    task: str = "geometry"

    @cached_property
    def question(self) -> Question:
        """Raises ``BadInput`` where the points do not suit the kind."""
        return rebuild(self.kind, dict(self.letters), dict(self.points), self.seed)

    @property
    def figure(self) -> Figure:
        return self.question.figure

    @cached_property
    def image(self) -> Image:
        return render(self.question.start)

    def to_dict(self) -> dict[str, Any]:
        points = {letter: list(point) for letter, point in self.points}
        return {"task": self.task, "id": self.id, "kind": self.kind, "letters": dict(self.letters), "points": points, "seed": self.seed}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Problem:
        """Inverse of ``to_dict``; raises ``BadInput``, with what to change, where there is no question about such a figure."""
        match data:
            case {
                "task": "geometry",
                "id": str(name),
                "kind": str(kind),
                "letters": dict(letters),
                "points": dict(points),
                "seed": int(seed),
            }:
                if len(name) <= _LONGEST_ID and not isinstance(seed, bool) and 0 <= seed < _SEEDS:
                    return _made(kind, _names(letters), _places(points), seed, name)
        raise BadInput("This is no geometry problem: it needs 'task', 'id', 'kind', 'letters', 'points' and a whole 'seed' from 0.")


def _names(letters: dict[Any, Any]) -> dict[str, str]:
    if not all(isinstance(part, str) for entry in letters.items() for part in entry):
        raise BadInput("The letters of a figure give every corner its name, such as {'A': 'F'}.")
    return letters


def _places(points: dict[Any, Any]) -> dict[str, Point]:
    places = {}
    for letter, point in points.items():
        match letter, point:
            case str(), [int(row), int(column)] if not isinstance(row, bool) and not isinstance(column, bool):
                places[letter] = (row, column)
            case _:
                raise BadInput("The points of a figure are letters with two whole numbers, row and column, such as {'A': [1, 3]}.")
    return places


def _made(kind: str, letters: dict[str, str], points: dict[str, Point], seed: int, id: str) -> Problem:
    """The problem, whose question is known to be possible."""
    roles = sorted(letters, key=lambda role: (role == CENTRE, role))
    places = tuple((letters[role], points[letters[role]]) for role in roles if letters[role] in points)
    rebuild(kind, letters, points, seed)
    return Problem(kind, tuple((role, letters[role]) for role in roles), places, seed, id)


def problem(split: str, index: int, group: str | None = None, style: str | None = None) -> Problem:
    """Problem number ``index`` of a split and kind of question; the same for the same arguments.

    Raises ``BadInput`` for an unknown split or kind, and for any style, since figures have none.
    """
    if style is not None:
        raise BadInput(f"Geometry figures have no styles such as {str(style)[:40]!r}; leave it out.")
    made = draft(split, index, group)
    id = "-".join(filter(None, ("geometry", split, str(index), group)))
    return _made(made.question.kind, dict(made.letters), dict(made.question.figure.at), made.seed, id)


def kinds() -> list[dict[str, str]]:
    """What a picker offers: the kinds of question, with a title for people."""
    return [{"key": key, "title": kind.title} for key, kind in KINDS.items()]


def figure_from(image: Image) -> dict[str, Point]:
    """Letter -> point of the figure that a visitor's picture shows; raises ``BadInput`` where it shows none."""
    sheet = read(image).sheet
    if sheet is None or not 3 <= len(sheet.figure.points) <= 4:
        raise BadInput(
            "I cannot read a figure of three or four lettered points in this picture. It must be square, with dark lines and capital "
            "letters on white, as this page draws them."
        )
    if sheet.marks or sheet.lines:
        raise BadInput("Something is drawn into this figure in orange already. Bring the figure alone.")
    return sheet.figure.at


def paint(kind: str, points: dict[str, Point], seed: int = 0, id: str = "visitor") -> Problem:
    """A question of a kind about a figure of which only the points are known, whichever of them can play which role.

    Raises ``BadInput`` with the reason where the figure does not suit in any way.
    """
    if kind not in KINDS:
        raise BadInput(f"There is no kind of question {kind[:40]!r}. Choose one of: {', '.join(KINDS)}.")
    why = None
    for roles in KINDS[kind].roles:
        for names in permutations(points):
            letters = dict(zip(roles, names, strict=False))
            if len(roles) == len(names) and letters.get(CENTRE, CENTRE) == CENTRE:
                try:
                    return _made(kind, letters, points, seed, id)
                except BadInput as error:
                    why = why or error
    raise why or BadInput(f"This kind of question needs the points {' or '.join(KINDS[kind].roles)}; the figure has {' '.join(points)}.")
