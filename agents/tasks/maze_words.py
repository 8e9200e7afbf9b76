"""The maze in words: what the model is trained to say, and how what it says is read again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.tasks.maze_rules import (
    AGENT,
    AGENT_ON_GOAL,
    FAULTS,
    FLOOR,
    GOAL,
    GREY,
    MOVES,
    TRAIL,
    WALL,
    Board,
    Cell,
    Verdict,
    route,
)

INSTRUCTIONS: dict[str, str] = {
    "next": "maze next",
    "judge": "maze judge",
    "describe": "maze describe",
    "route": "maze route",
    "answer": "maze answer",
}
_KINDS = {words: kind for kind, words in FAULTS.items()}
_MOVE = re.compile(rf"\b({'|'.join(MOVES)})\b")
_GO = re.compile(rf"\bgo ({'|'.join(MOVES)})\b")
_WRONG = re.compile(r"wrong \. (?P<fault>[a-z ]+?)(?: at (?P<cell>[a-p]\d{1,2}))? \.")


def cell_name(cell: Cell) -> str:
    """(row, column) -> column letter and row number: (0, 2) is "c1"."""
    return f"{chr(ord('a') + cell[1])}{cell[0] + 1}"


def cell_at(name: str) -> Cell | None:
    """Inverse of cell_name; None where it is no name of a cell."""
    match = re.fullmatch(r"([a-p])(\d{1,2})", name)
    return (int(match[2]) - 1, ord(match[1]) - ord("a")) if match and 1 <= int(match[2]) <= 16 else None


def think_words(board: Board) -> str:
    """The right thought before the next picture; "done" where nothing is left to draw."""
    if board.agent is not None and board.agent == board.goal:
        return "agent at the goal . done ."
    if board.greying:
        return f"dead ends : {' '.join(map(cell_name, board.dead_ends))} . grey them ."
    moves = route(board)
    if not moves or board.agent is None:
        return "no route . done ."
    return move_words(board.agent, moves[0])


def move_words(agent: Cell, move: str) -> str:
    """The thought that decides on a move; it names where this leads, so that the drawing need not work it out."""
    (r, c), (dr, dc) = agent, MOVES[move]
    return f"no dead ends . agent at {cell_name(agent)} . go {move} to {cell_name((r + dr, c + dc))} ."


def done(thought: str) -> bool:
    """Whether a thought decides that nothing is left to draw."""
    return re.search(r"\bdone\b", thought) is not None


def verdict_words(verdict: Verdict) -> str:
    if verdict.ok:
        return "correct ."
    place = f" at {cell_name(verdict.where)}" if verdict.where is not None else ""
    return f"wrong . {FAULTS[verdict.fault or 'unreadable']}{place} ."


def parse_verdict(text: str) -> tuple[bool, str | None, Cell | None]:
    """(ok, kind of fault, cell) of a verdict in words; words that are no verdict count as wrong without a named fault."""
    text = " ".join(text.lower().split())
    if text.startswith("correct"):
        return True, None, None
    match = _WRONG.search(text)
    if match is None:
        return False, None, None
    return False, _KINDS.get(match["fault"]), cell_at(match["cell"]) if match["cell"] else None


def parse_move(thought: str) -> str | None:
    """The move that a thought decides on; None where it decides on none."""
    match = _GO.search(" ".join(thought.lower().split()))
    return match[1] if match else None


def parse_moves(text: str) -> list[str]:
    """All moves named in an answer, in order."""
    return _MOVE.findall(text.lower())


_SEEN = {WALL: "wall", FLOOR: "floor", GREY: "grey", TRAIL: "trail", AGENT: "agent", GOAL: "goal", AGENT_ON_GOAL: "agent on goal"}


def shown_words(board: Board) -> str:
    """A whole board in plain words, row by row from the top, for a model that can only draw from words."""
    rows = (", ".join(_SEEN.get(kind, "unclear") for kind in row) for row in board.cells)
    return f"A maze of {board.n} x {board.n} square cells seen from above. " + " ".join(
        f"Row {number}: {row}." for number, row in enumerate(rows, 1)
    )


def describe_words(board: Board) -> str:
    agent, goal = (cell_name(cell) if cell else "none" for cell in (board.agent, board.goal))
    return f"size {board.n} . agent {agent} . goal {goal} ."


def route_words(board: Board) -> str:
    return " ".join(("route :", *(route(board) or ()), "."))


def _numbered(moves: Sequence[str]) -> str:
    return "".join(f"{number} {move} " for number, move in enumerate(moves, 1))


def walked_words(moves: Sequence[str]) -> str:
    """The prompt of the answer: the moves that the accepted thoughts decided on."""
    return f"walked : {_numbered(moves)}. answer"


def answer_words(moves: Sequence[str]) -> str:
    return f"answer : {_numbered(moves)}."
