"""Where maze boards come from: random layouts, split into train, val and test by the walls themselves."""

from __future__ import annotations

import hashlib
import random
from collections import deque

from agents.tasks.maze_rules import AGENT, FLOOR, GOAL, MOVES, WALL, Board, Cell
from unimm.errors import BadInput

STYLES = ("lattice", "grown", "loops")
SPLITS = ("train", "val", "test")
SIZES = (4, 5, 6, 6, 7, 8, 8)
SMALLEST, LARGEST = 4, 16
_STEPS = tuple(MOVES.values())


def canonical(board: Board) -> str:
    """Hash of the wall layout, equal for all eight rotations and reflections of it."""
    return _canonical(["".join("#" if kind == WALL else "." for kind in row) for row in board.cells])


def _canonical(rows: list[str]) -> str:
    seen = []
    for _ in range(4):
        rows = ["".join(column) for column in zip(*rows[::-1], strict=True)]
        seen.append("".join(rows))
        seen.append("".join(row[::-1] for row in rows))
    return hashlib.sha256(f"{len(rows)}:{min(seen)}".encode()).hexdigest()


def split_of(board: Board) -> str:
    """Which split a wall layout belongs to: about 85 % train, 5 % val, 10 % test, whatever start and goal are."""
    return _split(canonical(board))


def _split(digest: str) -> str:
    part = int(digest, 16) % 20
    return "val" if part == 0 else "test" if part <= 2 else "train"


def generate(split: str, index: int, n: int | None = None, style: str | None = None) -> Board:
    """Board number ``index`` of a split: the same for the same arguments, on every machine.

    Trees with exactly one route, except ``style="loops"``, which opens a few walls more (like a board that somebody painted).
    Raises ``BadInput`` for an unknown split, style or size, or where a split has no layout of that style (lattices of size 4 and 5).
    """
    if split not in SPLITS or (style is not None and style not in STYLES):
        raise BadInput(f"A maze has a split of {', '.join(SPLITS)} and a style of {', '.join(STYLES)}.")
    if n is not None and not SMALLEST <= n <= LARGEST:
        raise BadInput(f"A maze is {SMALLEST} to {LARGEST} cells wide, not {n}.")
    rng = random.Random(int.from_bytes(hashlib.sha256(repr(("maze", split, index, n, style)).encode()).digest()[:8], "big"))
    size = n or rng.choice(SIZES)
    for _ in range(4000):
        kind = style or ("lattice" if rng.random() < (0.5 if size in (6, 8) else 0.2) else "grown")
        free = _LAYOUTS[kind](rng, size)
        rows = ["".join("." if (r, c) in free else "#" for c in range(size)) for r in range(size)]
        if _split(_canonical(rows)) != split:
            continue
        ends = _ends(rng, free, 2 if size == 4 else 3)
        if ends is not None:
            return _board(free, size, *ends)
    raise BadInput(f"There is no {style} maze of size {n} in the split {split!r}. Choose another size or style.")


def _board(free: set[Cell], n: int, start: Cell, goal: Cell) -> Board:
    rows = [[FLOOR if (r, c) in free else WALL for c in range(n)] for r in range(n)]
    rows[start[0]][start[1]], rows[goal[0]][goal[1]] = AGENT, GOAL
    return Board.of(rows)


def _ends(rng: random.Random, free: set[Cell], least: int) -> tuple[Cell, Cell] | None:
    """A start and a goal that are at least so many moves apart."""
    start = rng.choice(sorted(free))
    far = {start: 0}
    queue = deque([start])
    while queue:
        r, c = cell = queue.popleft()
        for dr, dc in _STEPS:
            beside = (r + dr, c + dc)
            if beside in free and beside not in far:
                far[beside] = far[cell] + 1
                queue.append(beside)
    goals = [cell for cell, moves in far.items() if moves >= least]
    return (start, rng.choice(goals)) if goals else None


def _lattice(rng: random.Random, n: int) -> set[Cell]:
    """Uni-MMMU's layout: row 0 and column 0 are wall, nodes at odd places, passages between them a random spanning tree."""
    m = n // 2
    parent = list(range(m * m))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    doors = [(r, c, dr, dc) for r in range(m) for c in range(m) for dr, dc in ((0, 1), (1, 0)) if r + dr < m and c + dc < m]
    rng.shuffle(doors)
    free = {(2 * r + 1, 2 * c + 1) for r in range(m) for c in range(m)}
    for r, c, dr, dc in doors:
        one, other = root(r * m + c), root((r + dr) * m + c + dc)
        if one != other:
            parent[one] = other
            free.add((2 * r + 1 + dr, 2 * c + 1 + dc))
    return free


def _grown(rng: random.Random, n: int) -> set[Cell]:
    """A tree grown anywhere: open, again and again, a wall that touches exactly one free cell, up to 55 to 75 % of a full board."""
    seed = (rng.randrange(n), rng.randrange(n))
    free: set[Cell] = set()
    touches: dict[Cell, int] = {}
    border = [seed]
    wanted = max(4, round(rng.uniform(0.55, 0.75) * n * n * 0.85))
    bias = rng.random()  # high: long corridors; low: bushy trees
    while border and len(free) < wanted:
        place = len(border) - 1 if rng.random() < bias else int(rng.random() * len(border))
        cell = border.pop(place)
        if touches.get(cell, 0) > 1 or cell in free:
            continue
        free.add(cell)
        r, c = cell
        fresh = []
        for dr, dc in _STEPS:
            beside = (r + dr, c + dc)
            if 0 <= beside[0] < n and 0 <= beside[1] < n:
                count = touches[beside] = touches.get(beside, 0) + 1
                if count == 1 and beside not in free:
                    fresh.append(beside)
        rng.shuffle(fresh)
        border.extend(fresh)
    return free


def _loops(rng: random.Random, n: int) -> set[Cell]:
    """A tree and a few walls opened at random: loops, open places, and now and then a cell of its own."""
    free = _lattice(rng, n) if rng.random() < 0.3 else _grown(rng, n)
    walls = [(r, c) for r in range(n) for c in range(n) if (r, c) not in free]
    return free | set(rng.sample(walls, min(len(walls), rng.randint(1, n))))


_LAYOUTS = {"lattice": _lattice, "grown": _grown, "loops": _loops}
