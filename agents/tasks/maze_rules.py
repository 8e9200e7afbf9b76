"""The maze's rules: what a board is, which next picture is right, and what exactly is wrong with a wrong one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

WALL, FLOOR, GREY, TRAIL, AGENT, GOAL, AGENT_ON_GOAL, MARGIN = range(8)
UNREADABLE = -1
OPEN = frozenset((FLOOR, AGENT, GOAL, AGENT_ON_GOAL))
MOVES: dict[str, tuple[int, int]] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}

Cell = tuple[int, int]

FAULTS: dict[str, str] = {
    "unreadable": "cell unreadable",
    "agent_in_wall": "agent in wall",
    "wall_changed": "wall changed",
    "goal_gone": "goal gone",
    "goal_moved": "goal moved",
    "no_agent": "no agent",
    "two_agents": "two agents",
    "agent_jumped": "agent jumped",
    "into_grey": "agent on grey",
    "went_back": "agent went back",
    "moved_early": "agent moved early",
    "route_greyed": "route greyed",
    "dead_end_missed": "dead end missed",
    "grey_lost": "grey lost",
    "trail_missing": "trail missing",
    "trail_wrong": "trail wrong",
    "agent_stayed": "agent stayed",
}
"""Kind of fault -> its words, in order of precedence: a picture with several faults is named by the first."""


@dataclass(frozen=True)
class Board:
    """A square board as rows of cell kinds; immutable, so what is derived from it is computed once."""

    cells: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, rows: Iterable[Iterable[int]]) -> Board:
        return cls(tuple(map(tuple, rows)))

    @property
    def n(self) -> int:
        return len(self.cells)

    @property
    def walls(self) -> tuple[tuple[bool, ...], ...]:
        return tuple(tuple(kind == WALL for kind in row) for row in self.cells)

    @cached_property
    def agent(self) -> Cell | None:
        """Where the agent is (the first in raster order), or None."""
        return next(iter(places(self.cells, AGENT, AGENT_ON_GOAL)), None)

    @cached_property
    def goal(self) -> Cell | None:
        """Where the goal is (the first in raster order), or None."""
        return next(iter(places(self.cells, GOAL, AGENT_ON_GOAL)), None)

    @cached_property
    def walked(self) -> bool:
        """Whether the agent has left a trail: from then on nothing is greyed any more."""
        return any(TRAIL in row for row in self.cells)

    @cached_property
    def dead_ends(self) -> tuple[Cell, ...]:
        n = len(self.cells)
        shut = (False,) * (n + 2)
        free = [shut, *((False, *(kind in OPEN for kind in row), False) for row in self.cells), shut]
        return tuple(
            (r, c)
            for r, row in enumerate(self.cells)
            for c, kind in enumerate(row)
            if kind == FLOOR and free[r][c + 1] + free[r + 2][c + 1] + free[r + 1][c] + free[r + 1][c + 2] <= 1
        )

    @property
    def greying(self) -> bool:
        """Whether the next picture greys dead ends (else the agent walks)."""
        return not self.walked and bool(self.dead_ends)

    def put(self, changes: dict[Cell, int]) -> Board:
        """This board with some cells of other kinds."""
        rows = [list(row) for row in self.cells]
        for (r, c), kind in changes.items():
            rows[r][c] = kind
        return Board.of(rows)


@dataclass(frozen=True)
class Verdict:
    """Whether a picture is a right next picture; if not, the kind of fault (a key of FAULTS) and the cell to look at."""

    ok: bool
    fault: str | None = None
    where: Cell | None = None


def places(cells: Sequence[Sequence[int]], *kinds: int) -> list[Cell]:
    """Where cells of some kinds are, in raster order."""
    return [(r, c) for r, row in enumerate(cells) if any(kind in row for kind in kinds) for c, kind in enumerate(row) if kind in kinds]


def dead_ends(board: Board) -> tuple[Cell, ...]:
    """Floor cells with at most one open neighbour, in raster order."""
    return board.dead_ends


def route(board: Board) -> tuple[str, ...] | None:
    """The shortest moves from agent to goal over floor; None where there is no route. Ties: up, down, left, right, from the agent on."""
    start, goal = board.agent, board.goal
    if start is None or goal is None:
        return None
    n, cells = board.n, board.cells
    far = {goal: 0}  # searched from the goal, so that every cell knows its distance to it
    queue = deque([goal])
    while queue and start not in far:
        r, c = queue.popleft()
        for dr, dc in MOVES.values():
            cell = (r + dr, c + dc)
            if 0 <= cell[0] < n and 0 <= cell[1] < n and cell not in far and (cell == start or cells[cell[0]][cell[1]] in OPEN):
                far[cell] = far[(r, c)] + 1
                queue.append(cell)
    if start not in far:
        return None
    moves: list[str] = []
    r, c = start
    while (r, c) != goal:
        left = far[(r, c)]
        name = next(name for name, (dr, dc) in MOVES.items() if far.get((r + dr, c + dc)) == left - 1)
        moves.append(name)
        r, c = r + MOVES[name][0], c + MOVES[name][1]
    return tuple(moves)


def solvable(board: Board) -> bool:
    return route(board) is not None


def next_board(board: Board) -> Board | None:
    """The right next picture: all dead ends grey, or the agent one step along the shortest route, leaving a trail.

    None when nothing is left to draw: the agent is on the goal, or no route is open to it.
    """
    agent = board.agent
    if agent is None or agent == board.goal:
        return None
    if board.greying:
        return board.put(dict.fromkeys(board.dead_ends, GREY))
    moves = route(board)
    return step(board, moves[0]) if moves else None


def step(board: Board, move: str) -> Board:
    """The board after one move, with the trail it leaves; the caller has made sure that the move is legal."""
    (r, c), (dr, dc) = board.agent or (0, 0), MOVES[move]
    arrived = (r + dr, c + dc) == board.goal
    return board.put({(r, c): TRAIL, (r + dr, c + dc): AGENT_ON_GOAL if arrived else AGENT})


def judge(before: Board, after: Board | None) -> Verdict:
    """Whether ``after`` is a legal next board of ``before``, or the first fault of FAULTS that it has. ``None``: an unreadable picture."""
    if after is None or after.n != before.n:
        return Verdict(False, "unreadable")
    old, new = before.cells, after.cells
    changed = [(r, c, b, a) for r, rows in enumerate(zip(old, new, strict=True)) if rows[0] != rows[1]
               for c, (b, a) in enumerate(zip(*rows, strict=True)) if b != a]  # fmt: skip
    for r, c, _, a in changed:
        if not WALL <= a <= AGENT_ON_GOAL:
            return Verdict(False, "unreadable", (r, c))
    for r, c, b, a in changed:
        if b == WALL and a in (AGENT, AGENT_ON_GOAL):
            return Verdict(False, "agent_in_wall", (r, c))
    for r, c, b, a in changed:
        if b == WALL or a == WALL:
            return Verdict(False, "wall_changed", (r, c))
    return _judge_marks(before, new) or _judge_agent(before, after) or _judge_ground(before, after, changed)


def _judge_marks(before: Board, new: Sequence[Sequence[int]]) -> Verdict | None:
    goals, agents = places(new, GOAL, AGENT_ON_GOAL), places(new, AGENT, AGENT_ON_GOAL)
    if not goals:
        return Verdict(False, "goal_gone", before.goal)
    if goals != [before.goal]:
        return Verdict(False, "goal_moved", next(cell for cell in goals if cell != before.goal))
    if not agents:
        return Verdict(False, "no_agent", before.agent)
    if len(agents) > 1:
        fine = {before.agent, *_legal_cells(before)}
        return Verdict(False, "two_agents", next((cell for cell in agents if cell not in fine), agents[1]))
    return None


def _legal_cells(board: Board) -> list[Cell]:
    """Where the agent may step to now."""
    if board.agent is None or board.greying:
        return []
    return [(r, c) for r, c in around(board, board.agent) if board.cells[r][c] in (FLOOR, GOAL)]


def around(board: Board, cell: Cell) -> list[Cell]:
    """The up to four cells beside a cell."""
    r, c = cell
    return [(r + dr, c + dc) for dr, dc in MOVES.values() if 0 <= r + dr < board.n and 0 <= c + dc < board.n]


def _judge_agent(before: Board, after: Board) -> Verdict | None:
    start, end = before.agent, after.agent
    if start is None or end is None or start == end:
        return None
    if abs(start[0] - end[0]) + abs(start[1] - end[1]) != 1:
        return Verdict(False, "agent_jumped", end)
    ground = before.cells[end[0]][end[1]]
    fault = "into_grey" if ground == GREY else "went_back" if ground == TRAIL else "moved_early" if before.greying else None
    return Verdict(False, fault, end) if fault else None


def _judge_ground(before: Board, after: Board, changed: list[tuple[int, int, int, int]]) -> Verdict:
    """What is left once walls, goal and agent are in order: grey, floor and trail."""
    greying, start = before.greying, before.agent
    due = frozenset(before.dead_ends) if greying else frozenset()
    moved = after.agent != start
    for r, c, _, a in changed:
        if a == GREY and (r, c) not in due:
            return Verdict(False, "route_greyed", (r, c))
    for r, c in before.dead_ends if greying else ():
        if after.cells[r][c] == FLOOR:
            return Verdict(False, "dead_end_missed", (r, c))
    for r, c, b, a in changed:
        if b == GREY and a == FLOOR:
            return Verdict(False, "grey_lost", (r, c))
    if moved and start is not None and after.cells[start[0]][start[1]] != TRAIL:
        return Verdict(False, "trail_missing", start)
    for r, c, b, a in changed:
        if TRAIL in (b, a) and not (moved and (r, c) == start):
            return Verdict(False, "trail_wrong", (r, c))
    if not greying and not moved:
        return Verdict(False, "agent_stayed", start)
    return Verdict(True)
