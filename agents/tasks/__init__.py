"""The tasks: each makes problems, checks pictures and scores runs; TASKS is the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.tasks import maze
from unimm.document import Document, Image


@dataclass(frozen=True)
class Task:
    """What the agent, the page and evaluation need to know of a task. A new task is a new row in TASKS.

    A problem has ``task``, ``id``, ``image`` and ``to_dict()``; a cell is (row, column).
    """

    name: str
    instructions: Mapping[str, str]
    """What is asked ("next", "judge", "describe", "route", "answer") -> the words that ask for it."""
    faults: Mapping[str, str]
    """Kind of fault -> its words."""
    splits: tuple[str, ...]
    sizes: tuple[int, ...]
    """Sizes that the embedded model is trained for."""
    problem: Callable[..., Any]
    """(split, index, size=None, style=None) -> problem; the same for the same arguments."""
    from_dict: Callable[[dict[str, Any]], Any]
    """Saved problem -> problem; raises BadInput."""
    paint: Callable[..., Any]
    """(rows, start=None, goal=None) -> problem; raises BadInput with the reason."""
    solve: Callable[[Any], Any]
    """problem -> gold Solution(moves, frames); for training and evaluation only."""
    about: Callable[[Any], int]
    """problem -> about how many pictures a solution takes."""
    render: Callable[[Any], Image]
    read: Callable[..., Any]
    check: Callable[[Any, Image, Image], Any]
    """(problem, before, after) -> Check(ok, fault, where, words, changed)."""
    score: Callable[[Any, Sequence[Image], Sequence[str]], Any]
    """(problem, drawn pictures, answered moves) -> Score(solved, ...)."""
    gold_document: Callable[..., Document]
    done: Callable[[str], bool]
    """Does this thought decide that nothing is left to draw?"""
    parse_move: Callable[[str], str | None]
    parse_moves: Callable[[str], list[str]]
    parse_verdict: Callable[[str], tuple[bool, str | None, tuple[int, int] | None]]
    verdict_words: Callable[[bool, str | None, tuple[int, int] | None], str]
    """(ok, fault, where) -> the verdict in the words that the model knows."""
    walked_words: Callable[[Sequence[str]], str]
    place_name: Callable[[tuple[int, int]], str]
    """A cell's name for people and prompts: (0, 2) is "c1"."""
    move_between: Callable[[Image, Image], str | None]
    """The move that leads from one picture to the next, read from the pixels; None where there is none."""
    rules: str
    """What a right next picture is, in words for a model that was not trained on the task."""
    move_form: str = ""
    """How a thought is to say what it decides on, in words for such a model."""
    picture_words: Callable[[Image], str] = lambda image: ""
    """All that is in a picture, read from the pixels, for a model that draws anew from words; "" where it cannot be read."""


def _verdict_words(ok: bool, fault: str | None = None, where: tuple[int, int] | None = None) -> str:
    return maze.verdict_words(maze.Verdict(ok, fault, where))


def _picture_words(image: Image) -> str:
    board = maze.read(image).board
    return maze.shown_words(board) if board is not None else ""


def _about(problem: maze.Problem) -> int:
    return len(maze.solve(problem).frames)


def _move_between(before: Image, after: Image) -> str | None:
    boards = (maze.read(before).board, maze.read(after).board)
    (r, c), (to_r, to_c) = ((board and board.agent) or (0, 0) for board in boards)
    return next((name for name, step in maze.MOVES.items() if step == (to_r - r, to_c - c)), None)


TASKS: dict[str, Task] = {
    "maze": Task(
        name="maze",
        instructions=maze.INSTRUCTIONS,
        faults=maze.FAULTS,
        splits=maze.SPLITS,
        sizes=(4, 5, 6, 7, 8),
        problem=maze.problem,
        from_dict=maze.Problem.from_dict,
        paint=maze.paint,
        solve=maze.solve,
        about=_about,
        render=maze.render,
        read=maze.read,
        check=maze.check,
        score=maze.score,
        gold_document=maze.gold_document,
        done=maze.done,
        parse_move=maze.parse_move,
        parse_moves=maze.parse_moves,
        parse_verdict=maze.parse_verdict,
        verdict_words=_verdict_words,
        walked_words=maze.walked_words,
        place_name=maze.cell_name,
        move_between=_move_between,
        rules=(
            "Dark cells are walls, light ones floor, the blue square is the agent, the green frame the goal. As long as the agent has not "
            "moved and there are dead ends (light floor cells with at most one open neighbour), the next picture greys exactly these. "
            "After that the agent moves one cell to a neighbouring floor or goal cell that is neither grey nor on its trail, and leaves "
            "a light blue square behind. Nothing else changes."
        ),
        move_form="`grey` where dead ends are greyed, `go up`, `go down`, `go left` or `go right` where the agent moves",
        picture_words=_picture_words,
    ),
}
