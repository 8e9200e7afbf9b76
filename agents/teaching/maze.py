"""Lessons about mazes: what to grey, where to go, whether a picture is right, and drawing it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

import numpy as np

from agents.tasks import maze
from agents.tasks.maze_rules import AGENT, AGENT_ON_GOAL
from agents.tasks.maze_thoughts import free_thought
from agents.teaching.own import missed_or_overdone, pair
from unimm.star.inspector import WHOLE
from unimm.train.data import IGNORED, Branch, Lesson


def picture(rng: random.Random, split: str) -> np.ndarray:
    """A board at a random moment, or random tiles: uint8 [128, 128, 3]."""
    if rng.random() < 0.5:
        kinds = np.array(rng.choices(range(8), k=64)).reshape(8, 8)
        return np.concatenate(np.concatenate(maze.TILES(16)[kinds], 1), 1)
    return maze.render_cells(rng.choice(frames_of(next(maze_boards(rng, split, large=0.0)))))


LARGE = 0.3
"""Share of boards of 9 to 12 cells a side; they need the larger canvas and cost several times as much."""
LARGE_INSPECTED = 0.6
"""The same for the inspector, to which no words come."""
LOOPS_INSPECTED, ASTRAY = 0.4, 0.4
"""Share of the inspector's boards that have loops, and of its steps that are any legal one: floor beside a trail is no dead end there."""
LARGE_JUDGED = 0.3
"""Share of these with pictures to judge: what a picture shows where is harder to learn for them than whether it is right."""


def maze_boards(rng: random.Random, split: str = "train", loops: float = 0.12, large: float = LARGE) -> Iterator[maze.Board]:
    """Random boards of a split, a share of them with ``loops``, each as it stands at the start."""
    while True:
        n = rng.choice((10, 11, 12, 12)) if rng.random() < large else None
        yield maze.generate(split, rng.randrange(2**60), n, style="loops" if rng.random() < loops else None)


def frames_of(board: maze.Board, most: int = 120) -> list[maze.Board]:
    """A board and all right pictures after it."""
    frames = [board]
    while len(frames) < most and (after := maze.next_board(frames[-1])) is not None:
        frames.append(after)
    return frames


SIZES = range(4, 13)
DEAD_END, KINDS = 8, 9
"""Label of dead ends, of KINDS labels; the others are what ``maze.canvas_kinds`` says."""


def _moment(rng: random.Random, frames: list[maze.Board], greyed: float = 0.5) -> int:
    """A frame to ask about: any, but with this chance one of the greying ones, which need more practice."""
    greying = [index for index, frame in enumerate(frames) if frame.greying]
    return rng.choice(greying) if greying and rng.random() < greyed else rng.randrange(len(frames))


def named(side: int) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(state, token, words) for all cells of boards: a thought lists dead ends, says where the agent is, and names neighbours of both."""
    said = {DEAD_END: ("dead",), AGENT: ("agent",), AGENT_ON_GOAL: ("agent",)}
    for n in (n for n in SIZES if maze.canvas_cells(n) == side):
        at = maze.board_offset(n)
        for kind, (r, c) in product(range(KINDS), product(range(n), repeat=2)):
            yield _first_label(n) + kind, (r + at) * side + c + at, (*said.get(kind, ()), maze.cell_name((r, c)))


def _first_label(n: int) -> int:
    """Every size of board has labels of its own, for names count from a board's corner; larger boards than SIZES share theirs."""
    return KINDS * min(n - SIZES[0], len(SIZES))


def _states(board: maze.Board) -> np.ndarray:
    """What every canvas cell holds, dead ends told apart from other floor."""
    kinds = np.array(maze.canvas_kinds(board))
    size, at = maze.canvas_cells(board.n), maze.board_offset(board.n)
    for r, c in maze.dead_ends(board):
        kinds[(r + at) * size + c + at] = DEAD_END
    return _first_label(board.n) + kinds


def _wrong_cells(before: maze.Board, right: maze.Board | None, after: maze.Board) -> np.ndarray:
    """1 for every cell of ``after`` that is not as the right next board has it."""
    if maze.judge(before, after).ok or right is None:
        return np.zeros(maze.canvas_cells(before.n) ** 2, dtype=np.int64)
    return (np.array(maze.canvas_kinds(after)) != np.array(maze.canvas_kinds(right))).astype(np.int64)


def inspection(rng: random.Random, split: str = "train") -> Lesson:
    """One board and one after it, without words, right or wrong; and what its cells are."""
    frames = frames_of(next(maze_boards(rng, split, LOOPS_INSPECTED, LARGE_INSPECTED)))
    at = _moment(rng, frames[:-1] or frames, greyed=0.6)
    before, right = frames[at], frames[min(at + 1, len(frames) - 1)]
    if not before.greying and rng.random() < ASTRAY:
        before, right = _led_astray(rng, before)
    after = right if right != before and rng.random() < 0.5 else _inspected(rng, before, right)
    seen, side = _seen_cells(before, right, after), maze.canvas_cells(before.n)
    return pair(np.stack([maze.render_cells(board) for board in (before, after)]), seen.reshape(side, side))


def _led_astray(rng: random.Random, board: maze.Board) -> tuple[maze.Board, maze.Board]:
    """A board some legal steps later, and one more of them: where ways part, the shortest is not the only right one."""
    after = board
    for _ in range(rng.randint(1, 6)):
        if steps := _legal_steps(after):
            board, after = after, rng.choice(steps)
    return board, after


def _legal_steps(board: maze.Board) -> list[maze.Board]:
    """All boards that may come next where the agent goes."""
    if board.agent is None or board.agent == board.goal:
        return []
    (r, c), inside = board.agent, range(board.n)
    near = [move for move, (dr, dc) in maze.MOVES.items() if r + dr in inside and c + dc in inside]
    return [after for after in (maze.step(board, move) for move in near) if maze.judge(board, after).ok]


def _inspected(rng: random.Random, before: maze.Board, right: maze.Board) -> maze.Board:
    """A wrong board, mostly wrong in what is grey where that is due: words overlook it."""
    after = maze.corrupt(rng, before, right)
    if before.greying and rng.random() < 0.7:
        while maze.judge(before, after).fault not in ("dead_end_missed", "route_greyed"):
            after = maze.corrupt(rng, before, right)
    return after


def _seen_cells(before: maze.Board, right: maze.Board, after: maze.Board) -> np.ndarray:
    """What the inspector is to see in every cell of ``after``: of dead ends it can tell what their verdict is."""
    shown, due = (np.array(maze.canvas_kinds(board)) for board in (after, right))
    return np.where(_wrong_cells(before, right, after), missed_or_overdone(shown, due), WHOLE)


def _judging(picture: int, before: maze.Board, after: maze.Board) -> Branch:
    return Branch(maze.INSTRUCTIONS["judge"], maze.verdict_words(maze.judge(before, after)), shows=(picture,))


def understanding(rng: random.Random, split: str) -> Lesson:
    """One board at one moment: think, judge a right and a wrong next picture, then describe, give the route or answer."""
    frames = frames_of(next(maze_boards(rng, split)))
    at = _moment(rng, frames, greyed=0.7)
    board, after = frames[at], frames[at + 1] if at + 1 < len(frames) else None
    branches = [Branch(maze.INSTRUCTIONS["next"], maze.think_words(board), draws=after is not None)]
    shown = [board]
    if after is not None and (board.n < 9 or rng.random() < LARGE_JUDGED):
        shown += [after, maze.corrupt(rng, board, after)]
        branches += [_judging(number, board, shown[number]) for number in (1, 2)]
    chance = rng.random()
    if chance < 0.15:
        branches.append(Branch(maze.INSTRUCTIONS["describe"], maze.describe_words(board)))
    elif chance < 0.2 and maze.route(board):
        branches.append(Branch(maze.INSTRUCTIONS["route"], maze.route_words(board)))
    else:
        moves = rng.choices(list(maze.MOVES), k=rng.randint(1, 26))
        branches.append(Branch(maze.walked_words(moves), maze.answer_words(moves), alone=True))
    judged = [np.full(maze.canvas_cells(board.n) ** 2, IGNORED)] + [_wrong_cells(board, after, picture) for picture in shown[1:]]
    return Lesson(np.stack([maze.render_cells(picture) for picture in shown]), (0,), tuple(branches), np.stack([_states(p) for p in shown]),
                  np.stack(judged))  # fmt: skip


def board_words(board: maze.Board) -> str:
    """A whole board in words, row by row: from them a board can be drawn without a picture."""
    names = ("wall", "open", "grey", "trail", "agent", "goal", "done")
    rows = (f"row {number} {' '.join(names[kind] for kind in row)}" for number, row in enumerate(board.cells, 1))
    return f"draw board size {board.n} : {' '.join(rows)} ."


FREE_THOUGHTS = 0.6
"""Share of the lessons whose thought is not the right one: what the base saw settles the right picture, so only a picture
that differs teaches the stack to go by the thought."""


def drawing(rng: random.Random, split: str, editing: bool) -> Lesson:
    """One picture to draw: the next one after its thought, a wrong one put right after its verdict, or a board from words.

    ``editing`` gives the source's VQ tokens; without it the picture is drawn from what the base saw and said alone.
    """
    frames = frames_of(next(maze_boards(rng, split, loops=0.25)))
    at = _moment(rng, frames[:-1] or frames)
    board, after = frames[at], frames[min(at + 1, len(frames) - 1)]
    chance = rng.random()
    if chance < (0.04 if editing else 0.2):
        return Lesson(maze.render_cells(board)[None], (), (Branch(board_words(board), "", draws=True, target=0),))
    if chance < (0.24 if editing else 0.0) and after != board:
        wrong = maze.corrupt(rng, board, after)
        pictures = np.stack([maze.render_cells(picture) for picture in (board, after, wrong)])
        words = maze.verdict_words(maze.judge(board, wrong))
        branch = Branch(maze.INSTRUCTIONS["judge"], words, shows=(2,), draws=True, source=2, target=1)
        return Lesson(pictures, (0,), (branch,), about=_about(wrong, after, words))
    thought = maze.think_words(board)
    if rng.random() < FREE_THOUGHTS and (other := free_thought(rng, board)) is not None:
        thought, after = other
    pictures = np.stack([maze.render_cells(picture) for picture in (board, after)])
    source = 0 if editing else -1
    branch = Branch(maze.INSTRUCTIONS["next"], thought, draws=True, source=source, target=1)
    return Lesson(pictures, (0,), (branch,), about=_about(board, after, thought))


def _about(source: maze.Board, target: maze.Board, words: str) -> tuple[tuple[int, str, tuple[float, float]], ...]:
    """(token, word, way) for the cells that change: what the words name, or, in a move, where the agent is and where it goes."""
    said, size, at = words.split(), maze.canvas_cells(source.n), maze.board_offset(source.n)
    changed = [(r, c) for r in range(source.n) for c in range(source.n) if source.cells[r][c] != target.cells[r][c]]
    ends = [(maze.cell_name(cell), cell) for cell in (source.agent, target.agent) if cell]
    goals = ends if "go" in said and len(ends) == 2 and all(name in said for name, _ in ends) else ()
    found = []
    for r, c in changed:
        own = ((name, (r, c)),) if (name := maze.cell_name((r, c))) in said else ()
        found += [((r + at) * size + c + at, word, (float(y - r), float(x - c))) for word, (y, x) in goals or own]
    return tuple(found)
