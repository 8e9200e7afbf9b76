"""The tasks: each makes problems, checks pictures and scores runs; TASKS is the table of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.tasks import compose, geometry, maze, maze_exam, maze_verdicts
from agents.tasks.maze_words import cell_name
from unimm.document import Document, Image

Cell = tuple[int, int]
"""(row, column), from 0 at the top left: a cell of a board, a square of the paper, or a point of it."""
Verdict = tuple[bool, str | None, Cell | None]
"""(ok, kind of fault, where)."""
Moment = tuple[Image, Sequence[tuple[Image, bool, str | None, Cell | None]]]
"""A picture, and next ones of it with the truth about each: right or not, kind of fault, where."""
Group = int | str
"""What evaluation tells apart within a task: the size of a board, the kind of a question, the category of a scene."""


@dataclass(frozen=True)
class Task:
    """What the agent, the page and evaluation need to know of a task. A new task is a new row in TASKS.

    A problem has ``task``, ``id``, ``image`` (the picture that the run starts from) and ``to_dict()``. Columns without a
    default are what every task has; the others are for what some tasks have beside.
    """

    name: str
    asks: Callable[[Any], Mapping[str, str]]
    """problem -> what is asked ("next", "judge", "describe", "direct" and, where the answer is in words, "answer") -> the words
    that ask for it, which the picture or pictures stand before."""
    faults: Mapping[str, str]
    """Kind of fault -> its words."""
    splits: tuple[str, ...]
    groups: tuple[Group, ...]
    """Groups of problems that the embedded model is trained for."""
    problem: Callable[..., Any]
    """(split, index, group=None, style=None) -> problem, the same for the same arguments; raises BadInput."""
    from_dict: Callable[[dict[str, Any]], Any]
    """Saved problem -> problem; raises BadInput."""
    solve: Callable[[Any], Any]
    """problem -> gold solution, whose ``frames`` are what ``render`` draws; for training and evaluation only."""
    render: Callable[[Any], Image]
    """One frame of a solution -> its picture."""
    check: Callable[[Any, Image, Image], Any]
    """(problem, before, after) -> Check(ok, fault, where, words, changed), read from the pixels without gold.

    ``words`` are the whole verdict as the model is taught to say it, for a redraw is asked for with them; ``changed`` are
    the cells of the picture's grid that show something else."""
    score: Callable[[Any, Sequence[Image], Sequence[str]], Any]
    """(problem, drawn pictures, answer as ``parse_answer`` reads it) -> score with ``solved`` and ``to_dict()``.

    The dict's keys are at least "solved"; "drawn": the pictures are right; "answer_right": so is the answer, None where there
    is none in words; "fault" and "where" of the first wrong picture. (A maze's say the same in other words.)"""
    done: Callable[[str], bool]
    """Does this thought decide that nothing is left to draw?"""
    parse_verdict: Callable[[str], Verdict]
    """The verdict in what the model says about a picture; words that are no verdict count as wrong without a named fault."""
    moment: Callable[[random.Random, Any], Moment]
    """What the critic is examined on: a moment of the problem's solution with right and wrong next pictures."""
    rules: str
    """What a right next picture is, in words for a model that was not trained on the task."""
    objection: Callable[[str, Sequence[float], Sequence[str]], str] = lambda words, damage, kinds: words
    """(what a model that was taught the task says of a picture, how likely it takes each cell of the task's grid to be wrong, and what each
    then is or what is new there) -> the words with the verdict that all bear out, as a redraw is told it. They differ where that is not
    what the words say."""
    inspected: Collection[str] = ()
    """Faults of which, in a model that looks at the pixels too, only these tell, whatever the words say; of others they overrule a
    "correct"."""
    places: Callable[[Any, Image, Image], Collection[Cell]] = lambda problem, before, after: ()
    """(problem, before, a wrong picture) -> all places at which it is right to say that it is wrong, where there is more than one:
    either end of a line that is elsewhere, either of two things of which one is too many."""
    parse_answer: Callable[[str], tuple[str, ...]] = lambda text: ()
    """What an answer in words says: the moves, or the value."""
    request: Callable[[Any], str] = lambda problem: ""
    """The question or request in plain words; "" where the picture says it all."""
    place_name: Callable[[Cell], str] = cell_name
    """The name of where a fault is, for people and prompts: (0, 2) is "c1"."""
    paint: Callable[..., Any] | None = None
    """What a visitor made -> problem; raises BadInput with the reason."""
    read: Callable[..., Any] | None = None
    """What the program reads in a picture."""
    gold_document: Callable[..., Document] | None = None
    verdict_words: Callable[[bool, str | None, Cell | None], str] | None = None
    """(ok, fault, where) -> the verdict in the words that the model knows."""
    parse_move: Callable[[str], str | None] | None = None
    """The move that a thought decides on; tasks without moves have none."""
    move_between: Callable[[Image, Image], str | None] | None = None
    """The move that leads from one picture to the next, read from the pixels; None where there is none."""
    walked_words: Callable[[Sequence[str]], str] | None = None
    """Where the answer is asked for from the moves alone: the words that tell them. Else it is asked for with the last picture."""
    leg: int = 24
    """So many moves are asked for at once, where an answer is."""
    move_form: str = ""
    """How a thought is to say what it decides on, in words for a model that was not trained on the task."""
    picture_words: Callable[[Image], str] = lambda image: ""
    """All that is in a picture, read from the pixels, for a model that draws anew from words; "" where it cannot be read."""
    pictures: int | None = None
    """So many kept pictures are a whole solution; None leaves it to the thoughts to say that nothing is left to draw."""
    layout: Callable[[Any], str] = lambda problem: str(problem.id)
    """What problems have in common that differ in little else."""
    grid: Callable[[Any], tuple[int, int, int]] = lambda problem: (0, 8, 8)
    """problem -> (first, count, whole): its cells are ``count`` from number ``first`` of the ``whole`` along a picture's side."""

    def about(self, problem: Any) -> int:
        """About how many pictures a solution takes."""
        return len(self.solve(problem).frames)


def _verdict_words(ok: bool, fault: str | None = None, where: Cell | None = None) -> str:
    return maze.verdict_words(maze.Verdict(ok, fault, where))


def _picture_words(image: Image) -> str:
    board = maze.read(image).board
    return maze.shown_words(board) if board is not None else ""


def _move_between(before: Image, after: Image) -> str | None:
    boards = (maze.read(before).board, maze.read(after).board)
    (r, c), (to_r, to_c) = ((board and board.agent) or (0, 0) for board in boards)
    return next((name for name, step in maze.MOVES.items() if step == (to_r - r, to_c - c)), None)


_MAZE_ASKS = {name: maze.INSTRUCTIONS[kept] for name, kept in
              {"next": "next", "judge": "judge", "describe": "describe", "direct": "route", "answer": "answer"}.items()}  # fmt: skip

TASKS: dict[str, Task] = {
    "maze": Task(
        name="maze",
        asks=lambda problem: _MAZE_ASKS,
        faults=maze.FAULTS,
        splits=maze.SPLITS,
        groups=(4, 5, 6, 7, 8),
        problem=maze.problem,
        from_dict=maze.Problem.from_dict,
        paint=maze.paint,
        solve=maze.solve,
        render=maze.render,
        read=maze.read,
        check=maze.check,
        score=maze.score,
        gold_document=maze.gold_document,
        done=maze.done,
        parse_move=maze.parse_move,
        parse_answer=lambda text: tuple(maze.parse_moves(text)),
        parse_verdict=maze.parse_verdict,
        objection=maze_verdicts.objection,
        verdict_words=_verdict_words,
        walked_words=maze.walked_words,
        move_between=_move_between,
        moment=maze_exam.moment,
        layout=maze_exam.layout,
        grid=lambda problem: (maze.board_offset(problem.board.n), problem.board.n, maze.canvas_cells(problem.board.n)),
        rules=(
            "Dark cells are walls, light ones floor, the blue square is the agent, the green frame the goal. As long as the agent has not "
            "moved and there are dead ends (light floor cells with at most one open neighbour), the next picture greys exactly these. "
            "After that the agent moves one cell to a neighbouring floor or goal cell that is neither grey nor on its trail, and leaves "
            "a light blue square behind. Nothing else changes."
        ),
        move_form="`grey` where dead ends are greyed, `go up`, `go down`, `go left` or `go right` where the agent moves",
        picture_words=_picture_words,
    ),
    "geometry": Task(
        name="geometry",
        asks=geometry.asks,
        faults=geometry.FAULTS,
        splits=geometry.SPLITS,
        groups=geometry.GROUPS,
        problem=geometry.problem,
        from_dict=geometry.Problem.from_dict,
        solve=geometry.solve,
        render=geometry.render,
        check=geometry.check,
        places=geometry.places,
        score=geometry.score,
        done=geometry.done,
        parse_verdict=geometry.parse_verdict,
        objection=geometry.objection,
        inspected=tuple(geometry.DAMAGE),
        parse_answer=geometry.parse_answer,
        moment=geometry.moment,
        rules=geometry.RULES,
        request=geometry.request,
        place_name=geometry.place_name,
        layout=geometry.layout,
        gold_document=geometry.gold_document,
        picture_words=geometry.picture_words,
    ),
    "compose": Task(
        name="compose",
        asks=compose.asks,
        faults=compose.FAULTS,
        splits=compose.SPLITS,
        groups=compose.GROUPS,
        problem=compose.problem,
        from_dict=compose.Problem.from_dict,
        paint=compose.paint,
        solve=compose.solve,
        render=compose.render,
        read=compose.read,
        check=compose.check,
        places=compose.places,
        score=compose.score,
        done=compose.done,
        parse_verdict=compose.parse_verdict,
        objection=compose.objection,
        inspected=("unreadable",),
        moment=compose.moment,
        rules=compose.RULES,
        request=compose.request,
        place_name=compose.place_name,
        layout=compose.layout,
        gold_document=compose.gold_document,
        picture_words=compose.picture_words,
        pictures=1,
    ),
}


def on_grid(task: Task, problem: Any, cells: Sequence[Any]) -> tuple[Any, ...]:
    """Of what is known of every cell of a problem's picture, row by row, that of the cells of the task's grid; nothing where it is of
    another number of cells."""
    first, count, whole = task.grid(problem)
    kept = range(first, first + count)
    return tuple(cells[r * whole + c] for r in kept for c in kept) if len(cells) == whole**2 else ()
