"""How each task's pictures are shown: the grid that names places on them, the part of them that a page shows, what is said about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.tasks import TASKS, figure, maze, scene
from agents.tasks.maze import AGENT, AGENT_ON_GOAL, GOAL, GREY, MOVES, TRAIL
from agents.trace import Trace
from unimm.document import Image
from unimm.errors import BadInput

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Look:
    """One task's pictures. ``points``: places are corners of the grid's squares instead of the squares themselves."""

    size: Callable[[Any], int]
    """problem -> squares along one side of the grid that names places."""
    facts: Callable[[Image, int], dict[str, Any]]
    """(picture, squares a side) -> what the program reads in it, for an alternative text."""
    points: bool = False
    route: Callable[[Any, Sequence[str]], list[list[int]]] = lambda problem, moves: []
    """(problem, answered moves) -> the squares that they visit, as [row, column]."""


def of(task: str) -> Look:
    """The look of a task; raises ``BadInput`` for a task that this program does not know."""
    if task not in TASKS or task not in LOOKS:
        raise BadInput(f"This trace is of the task {task[:40]!r}, which this program does not know.")
    return LOOKS[task]


def problem_of(trace: Trace) -> Any:
    """The trace's problem; raises ``BadInput`` where it is none that can be shown."""
    of(trace.task)
    return TASKS[trace.task].from_dict(trace.problem)


def window(problem: Any, image: Image) -> Box:
    """The part of one of the problem's pictures that is shown: what its grid covers, without the margin."""
    first, count, whole = TASKS[problem.task].grid(problem)
    if image.width != image.height or image.width % whole:
        return 0, 0, image.width, image.height
    low, high = (at * image.width // whole for at in (first, first + count))
    return low, low, high, high


def _maze_facts(image: Image, size: int) -> dict[str, Any]:
    board = maze.read(image, size).board
    kinds = [(kind, maze.cell_name((r, c))) for r, row in enumerate(board.cells if board else ()) for c, kind in enumerate(row)]
    return {
        "agent": next((cell for kind, cell in kinds if kind in (AGENT, AGENT_ON_GOAL)), None),
        "goal": next((cell for kind, cell in kinds if kind in (GOAL, AGENT_ON_GOAL)), None),
        "grey": sum(kind == GREY for kind, _ in kinds),
        "trail": sum(kind == TRAIL for kind, _ in kinds),
    }


def _maze_route(problem: maze.Problem, moves: Sequence[str]) -> list[list[int]]:
    size, (r, c) = problem.board.n, problem.board.agent or (0, 0)
    cells = [[r, c]]
    for move in moves:
        dr, dc = MOVES.get(move, (0, 0))
        r, c = min(max(r + dr, 0), size - 1), min(max(c + dc, 0), size - 1)
        cells.append([r, c])
    return cells


def _in_words(task: str) -> Callable[[Image, int], dict[str, Any]]:
    return lambda image, size: {"words": TASKS[task].picture_words(image)}


LOOKS: dict[str, Look] = {
    "maze": Look(lambda problem: problem.board.n, _maze_facts, route=_maze_route),
    "geometry": Look(lambda problem: figure.SIDE, _in_words("geometry"), points=True),
    "compose": Look(lambda problem: scene.SIDE, _in_words("compose")),
}
"""Task -> how its pictures are shown."""
