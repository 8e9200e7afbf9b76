"""Mazes: grey the dead ends wave by wave, then walk the route that stays white."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agents.tasks.maze_boards import LARGEST, SMALLEST, SPLITS, STYLES, canonical, generate, split_of
from agents.tasks.maze_mistakes import corrupt
from agents.tasks.maze_pictures import CELL_PX, PALETTE, SHOWN_PX, TILES, board_offset, canvas_cells, canvas_kinds, render, render_cells
from agents.tasks.maze_reader import Reading, read
from agents.tasks.maze_rules import (
    AGENT,
    AGENT_ON_GOAL,
    FAULTS,
    FLOOR,
    GOAL,
    GREY,
    MARGIN,
    MOVES,
    TRAIL,
    UNREADABLE,
    WALL,
    Board,
    Cell,
    Verdict,
    dead_ends,
    judge,
    next_board,
    route,
    solvable,
    step,
)
from agents.tasks.maze_words import (
    INSTRUCTIONS,
    answer_words,
    cell_at,
    cell_name,
    describe_words,
    done,
    parse_move,
    parse_moves,
    parse_verdict,
    route_words,
    shown_words,
    think_words,
    verdict_words,
    walked_words,
)
from unimm.document import Document, Image, Text
from unimm.errors import BadInput

__all__ = [
    "AGENT", "AGENT_ON_GOAL", "CELL_PX", "FAULTS", "FLOOR", "GOAL", "GREY", "INSTRUCTIONS", "LARGEST", "MARGIN", "MOVES", "PALETTE",
    "SHOWN_PX", "SMALLEST", "SPLITS", "STYLES", "TILES", "TRAIL", "UNREADABLE", "WALL", "Board", "Cell", "Check", "Problem", "Reading",
    "Score", "Solution", "Verdict", "answer_words", "board_offset", "canonical", "canvas_cells", "canvas_kinds", "cell_at", "cell_name",
    "check", "corrupt", "dead_ends", "describe_words", "done", "generate", "gold_document", "judge", "next_board", "paint", "parse_move",
    "parse_moves", "parse_verdict", "problem", "read", "render", "render_cells", "route", "route_words", "score", "shown_words", "solvable",
    "solve", "split_of", "step", "think_words", "verdict_words", "walked_words",
]  # fmt: skip

MOST_PICTURE = 3 * 2**20
"""Longest base64 text of a picture that a visitor brought."""

_LETTERS = {"#": WALL, ".": FLOOR, " ": FLOOR, "S": AGENT, "G": GOAL}


@dataclass(frozen=True)
class Problem:
    """A maze to solve: all that an agent or a critic may see.

    ``picture`` is the picture that a visitor brought and the board was read from, as base64 of a PNG file ("": none). It is
    only shown again; nobody is asked about it.
    """

    board: Board
    id: str
    task: str = "maze"
    picture: str = ""

    @cached_property
    def image(self) -> Image:
        return render(self.board)

    @property
    def rows(self) -> tuple[str, ...]:
        """The board as text: ``#`` wall, ``.`` floor, ``S`` start, ``G`` goal."""
        letters = {WALL: "#", FLOOR: ".", AGENT: "S", GOAL: "G"}
        return tuple("".join(letters[kind] for kind in row) for row in self.board.cells)

    def to_dict(self) -> dict[str, Any]:
        brought = {"picture": self.picture} if self.picture else {}
        return {"task": self.task, "id": self.id, "rows": list(self.rows), **brought}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Problem:
        """Inverse of ``to_dict``; raises ``BadInput`` for anything that is not a board with a route."""
        match data:
            case {"task": "maze", "id": str(name), "rows": list(rows)} if len(name) <= 200:
                picture = data.get("picture", "")
                if isinstance(picture, str) and len(picture) <= MOST_PICTURE:
                    return cls(paint(rows).board, name, picture=picture)
        raise BadInput("This is not a maze: it needs 'task', 'id' and 'rows'.")


@dataclass(frozen=True)
class Solution:
    """The gold answer: a shortest route, and every picture from the first greying to the arrival."""

    moves: tuple[str, ...]
    frames: tuple[Board, ...]


@dataclass(frozen=True)
class Check:
    """The program's verdict on one drawn picture: the fault (a key of FAULTS), its cell, the words, and all cells that changed."""

    ok: bool
    fault: str | None
    where: Cell | None
    words: str
    changed: tuple[Cell, ...]


@dataclass(frozen=True)
class Score:
    """How a whole run went.

    ``solved``: all frames legal from the start, the last one on the goal, and the answer names the moves that were drawn.
    ``legal_frames``: frames before the first illegal one, out of ``frames``; ``fault`` is what was wrong with that one.
    ``moves_right``: the answered moves alone lead from start to goal without a wall or a cell twice.
    """

    solved: bool
    legal_frames: int
    frames: int
    arrived: bool
    moves_right: bool
    fault: str | None = None
    where: Cell | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "where": list(self.where) if self.where else None}


def problem(split: str, index: int, n: int | None = None, style: str | None = None) -> Problem:
    """Problem number ``index`` of a split; see generate()."""
    board = generate(split, index, n, style)
    return Problem(board, "-".join(("maze", split, str(index), f"{board.n}x{board.n}", *((style,) if style else ()))))


def solve(problem: Problem) -> Solution:
    frames, board = [], problem.board
    while (after := next_board(board)) is not None:
        frames.append(after)
        board = after
    return Solution(route(problem.board) or (), tuple(frames))


def check(problem: Problem, before: Image, after: Image) -> Check:
    """Is ``after`` a legal next picture of ``before``? Read from the pixels of both, without gold."""
    n = problem.board.n
    old, new = read(before, n), read(after, n)
    changed: tuple[Cell, ...] = ()
    if old.board and new.board:
        pairs = zip(old.board.cells, new.board.cells, strict=True)
        changed = tuple((r, c) for r, (was, now) in enumerate(pairs) for c in range(n) if was[c] != now[c])
    if old.board is None or new.board is None or old.unreadable or new.unreadable or new.stray:
        verdict = Verdict(False, "unreadable", next(iter((*new.unreadable, *old.unreadable)), None))
    else:
        verdict = judge(old.board, new.board)
    return Check(verdict.ok, verdict.fault, verdict.where, verdict_words(verdict), changed)


def score(problem: Problem, frames: Sequence[Image], moves: Sequence[str]) -> Score:
    """Score the drawn pictures (without the start) and the answered moves; needs no gold, so every valid route counts."""
    legal, before, fault = 0, problem.image, None
    places = [problem.board.agent]
    for frame in frames:
        fault = check(problem, before, frame)
        if not fault.ok:
            break
        legal, before, board = legal + 1, frame, read(frame, problem.board.n).board
        places.append(board.agent if board else None)
    arrived = legal == len(frames) and places[-1] == problem.board.goal
    shown = [cell for cell, last in zip(places[1:], places[:-1], strict=True) if cell != last]
    answered = _replay(problem.board, moves)
    moves_right = bool(answered) and answered[-1] == problem.board.goal
    wrong = fault if fault and not fault.ok else None
    solved = arrived and moves_right and shown == answered
    return Score(solved, legal, len(frames), arrived, moves_right, wrong and wrong.fault, wrong and wrong.where)


def _replay(board: Board, moves: Sequence[str]) -> list[Cell]:
    """The cells that the moves enter; empty where one of them is no move, hits a wall or enters a cell twice."""
    assert board.agent is not None
    seen = [board.agent]
    for move in moves:
        if move not in MOVES:
            return []
        cell = (seen[-1][0] + MOVES[move][0], seen[-1][1] + MOVES[move][1])
        if not (0 <= cell[0] < board.n and 0 <= cell[1] < board.n) or board.cells[cell[0]][cell[1]] == WALL or cell in seen:
            return []
        seen.append(cell)
    return seen[1:]


def paint(rows: Sequence[str] | Sequence[Sequence[int]], start: Cell | None = None, goal: Cell | None = None) -> Problem:
    """A problem from a board that somebody painted.

    ``rows``: strings of ``#`` wall, ``.`` floor, ``S`` start, ``G`` goal, or rows of cell kinds; ``start`` and ``goal`` as (row, column)
    if the rows do not say them. Several routes are fine; raises ``BadInput`` with the reason and the remedy for anything unusable.
    """
    grid = _grid(rows)
    places = {}
    for kind, name, given in ((AGENT, "start", start), (GOAL, "goal", goal)):
        found = [(r, c) for r, row in enumerate(grid) for c, value in enumerate(row) if value == kind]
        if given is not None:
            found = sorted({*found, _inside(given, len(grid), name)})
        if len(found) != 1:
            problem = f"has no {name}" if not found else f"has {len(found)} {name}s, at {' and '.join(map(cell_name, found[:4]))}"
            raise BadInput(f"The board {problem}. Put exactly one {name} on it.")
        r, c = places[name] = found[0]
        if grid[r][c] == WALL:
            raise BadInput(f"The {name} at {cell_name((r, c))} is on a wall. Open that cell or move the {name}.")
    if places["start"] == places["goal"]:
        raise BadInput(f"Start and goal are both at {cell_name(places['start'])}. Move one of them.")
    board = Board.of(grid).put({places["start"]: AGENT, places["goal"]: GOAL})
    if not solvable(board):
        between = [cell_name(cell) for cell in _separating(board)]
        opened = f"the wall at {between[0]}" if len(between) == 1 else f"the walls at {', '.join(between)}"
        raise BadInput(f"No route leads from {cell_name(places['start'])} to {cell_name(places['goal'])}. Opening {opened} would make one.")
    digest = hashlib.sha256(repr(board.cells).encode()).hexdigest()
    return Problem(board, f"maze-painted-{digest[:12]}")


def _grid(rows: Any) -> list[list[int]]:
    if not isinstance(rows, list | tuple) or not all(isinstance(row, str | list | tuple) for row in rows):
        raise BadInput("A board is a list of rows.")
    n = len(rows)
    wide = max((len(row) for row in rows), default=0)
    if not SMALLEST <= n <= LARGEST or any(len(row) != n for row in rows):
        raise BadInput(f"A board is a square of {SMALLEST} to {LARGEST} cells a side; this one is {wide} wide and {n} high.")
    grid = []
    for r, row in enumerate(rows):
        kinds = [_LETTERS.get(value) if isinstance(value, str) else value for value in row]
        for c, kind in enumerate(kinds):
            if isinstance(kind, bool) or kind not in (WALL, FLOOR, AGENT, GOAL):
                raise BadInput(f"The cell {cell_name((r, c))} of the board is no wall, floor, start or goal. Use the characters # . S G.")
        grid.append([int(kind) for kind in kinds])
    return grid


def _inside(cell: Any, n: int, name: str) -> Cell:
    match cell:
        case (int(r), int(c)) if 0 <= r < n and 0 <= c < n:
            return r, c
    raise BadInput(f"The {name} is outside of the board. Put it on one of the {n} x {n} cells.")


def _separating(board: Board) -> list[Cell]:
    """A smallest set of walls that, opened, joins start and goal."""
    assert board.agent is not None
    reached: dict[Cell, tuple[Cell, ...]] = {board.agent: ()}
    queue = deque([board.agent])
    done: set[Cell] = set()
    while queue:
        cell = queue.popleft()
        if cell in done:
            continue
        done.add(cell)
        for dr, dc in MOVES.values():
            r, c = beside = (cell[0] + dr, cell[1] + dc)
            if not (0 <= r < board.n and 0 <= c < board.n):
                continue
            wall = board.cells[r][c] == WALL
            opened = (*reached[cell], beside) if wall else reached[cell]
            if beside not in reached or len(opened) < len(reached[beside]):
                reached[beside] = opened
                (queue.append if wall else queue.appendleft)(beside)
    return sorted(reached[board.goal or board.agent])


def gold_document(problem: Problem, mistakes: float = 0.25) -> Document:
    """A whole right conversation: thoughts, pictures, wrong pictures with the verdict that names the fault and the corrected one, answer.

    ``mistakes`` is the share of pictures that are first drawn wrong (at least one unless it is 0); which ones depends on the id alone.
    """
    rng = random.Random(problem.id)
    frames = solve(problem).frames
    wrong_at = {i for i in range(len(frames)) if rng.random() < mistakes} or ({rng.randrange(len(frames))} if mistakes else set())
    document, before = Document().user(problem.image, Text(INSTRUCTIONS["next"])), problem.board
    for i, after in enumerate(frames):
        thought = Text(think_words(before))
        if i in wrong_at:
            wrong = corrupt(rng, before, after)
            document = document.assistant(thought, render(wrong)).user(Text(INSTRUCTIONS["judge"]))
            document = document.assistant(Text(verdict_words(judge(before, wrong))), render(after))
        else:
            document = document.assistant(thought, render(after))
        document = document.user(Text(INSTRUCTIONS["next"]))
        before = after
    moves = route(problem.board) or ()
    document = document.assistant(Text(think_words(before))).user(Text(walked_words(moves)))
    return document.assistant(Text(answer_words(moves)))
