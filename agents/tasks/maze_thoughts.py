"""Thoughts other than the right one, with the picture that each asks for: a drawing has to follow what was thought."""

from __future__ import annotations

import random

from agents.tasks.maze_rules import GREY, MOVES, WALL, Board, step
from agents.tasks.maze_words import cell_name, move_words


def free_thought(rng: random.Random, board: Board) -> tuple[str, Board] | None:
    """A thought and the board drawn after it: some of the dead ends only, or a step to any cell beside the agent that is no wall.

    None where the agent has arrived, is missing or cannot move.
    """
    if board.greying and len(board.dead_ends) > 1 and rng.random() < 0.6:
        return _some_dead_ends(rng, board)
    return _any_step(rng, board)


def _some_dead_ends(rng: random.Random, board: Board) -> tuple[str, Board]:
    some = sorted(rng.sample(board.dead_ends, rng.randint(1, len(board.dead_ends) - 1)))
    return f"dead ends : {' '.join(map(cell_name, some))} . grey them .", board.put(dict.fromkeys(some, GREY))


def _any_step(rng: random.Random, board: Board) -> tuple[str, Board] | None:
    if board.agent is None or board.agent == board.goal:
        return None
    (r, c), n = board.agent, board.n
    beside = {name: (r + dr, c + dc) for name, (dr, dc) in MOVES.items() if 0 <= r + dr < n and 0 <= c + dc < n}
    moves = [name for name, (row, column) in beside.items() if board.cells[row][column] != WALL]
    if not moves:
        return None
    move = rng.choice(moves)
    return move_words(board.agent, move), step(board, move)
