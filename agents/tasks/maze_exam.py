"""What a maze model is examined on beside whole runs: next pictures to judge, and what boards have in common."""

from __future__ import annotations

import random

from agents.tasks import maze
from unimm.document import Image


def moment(rng: random.Random, problem: maze.Problem) -> tuple[Image, list[tuple[Image, bool, str | None, maze.Cell | None]]]:
    """One right and two different wrong next pictures at a random moment of the solution; the faults are exact."""
    frames = [problem.board, *maze.solve(problem).frames]
    at = rng.randrange(len(frames) - 1)
    before, shown = frames[at], [frames[at + 1]]
    for _ in range(20):
        wrong = maze.corrupt(rng, before, frames[at + 1])
        if wrong not in shown:
            shown.append(wrong)
        if len(shown) == 3:
            break
    truths = [(board, maze.judge(before, board)) for board in shown]
    return maze.render(before), [(maze.render(board), truth.ok, truth.fault, truth.where) for board, truth in truths]


def layout(problem: maze.Problem) -> str:
    """Boards with the same walls, turned, mirrored, with other start and goal, have the same one."""
    return maze.canonical(problem.board)[:16]
