"""Wrong maze pictures with exactly known faults: what the critic learns from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from agents.tasks.maze_rules import (
    AGENT,
    AGENT_ON_GOAL,
    FLOOR,
    GOAL,
    GREY,
    MARGIN,
    TRAIL,
    WALL,
    Board,
    Cell,
    around,
    judge,
    places,
)


def corrupt(rng: random.Random, before: Board, after: Board) -> Board:
    """A wrong picture near the right one: one exact mistake (of any kind that judge() names), never legal.

    ``after`` is the right next board of ``before``. What the mistake is called is for judge() to say.
    """
    while True:
        wrong = rng.choice(_MISTAKES)(rng, before, after)
        if wrong is not None and not judge(before, wrong).ok:
            return wrong


Mistake = Callable[[random.Random, Board, Board], Board | None]


def _pick(rng: random.Random, cells: Sequence[Cell]) -> Cell | None:
    return rng.choice(cells) if cells else None


def _flip(rng: random.Random, after: Board, kinds: tuple[int, ...], to: tuple[int, ...], near: Cell | None = None) -> Board | None:
    """One cell of some kinds becomes another kind; with ``near``, half the time one beside that cell."""
    cells = places(after.cells, *kinds)
    if near is not None and rng.random() < 0.5:
        cells = [cell for cell in cells if abs(cell[0] - near[0]) + abs(cell[1] - near[1]) <= 2] or cells
    cell = _pick(rng, cells)
    return after.put({cell: rng.choice(to)}) if cell else None


def _shift_agent(rng: random.Random, before: Board, base: Board, targets: list[Cell]) -> Board | None:
    """``base`` with its agent taken away and put on one of the targets."""
    target, agent, start = _pick(rng, targets), base.agent, before.agent
    if target is None or agent is None or target == agent:
        return None
    left = GOAL if agent == base.goal else before.cells[agent[0]][agent[1]] if agent != start else TRAIL if rng.random() < 0.6 else FLOOR
    return base.put({agent: left, target: AGENT_ON_GOAL if target == base.goal else AGENT})


def _agent_in_wall(rng: random.Random, before: Board, after: Board) -> Board | None:
    assert before.agent and after.agent
    near = [cell for cell in around(before, rng.choice((before.agent, after.agent))) if before.cells[cell[0]][cell[1]] == WALL]
    return _shift_agent(rng, before, after, near)


def _agent_elsewhere(kinds: tuple[int, ...], radius: int) -> Mistake:
    def mistake(rng: random.Random, before: Board, after: Board) -> Board | None:
        assert before.agent
        r, c = before.agent
        cells = [cell for cell in places(before.cells, *kinds) if abs(cell[0] - r) + abs(cell[1] - c) <= radius]
        return _shift_agent(rng, before, after if rng.random() < 0.8 else before, cells)

    return mistake


def _goal_gone(rng: random.Random, before: Board, after: Board) -> Board | None:
    return after.put({after.goal: AGENT if after.goal == after.agent else rng.choice((FLOOR, FLOOR, GREY, TRAIL))}) if after.goal else None


def _goal_moved(rng: random.Random, before: Board, after: Board) -> Board | None:
    cells = places(after.cells, FLOOR, GREY, TRAIL)
    assert after.goal
    near = [cell for cell in around(after, after.goal) if cell in cells]
    target = _pick(rng, near if near and rng.random() < 0.6 else cells)
    if target is None:
        return None
    left = AGENT if after.goal == after.agent else rng.choice((FLOOR, GOAL))
    return after.put({after.goal: left, target: GOAL})


def _no_agent(rng: random.Random, before: Board, after: Board) -> Board | None:
    assert after.agent
    return after.put({after.agent: GOAL if after.agent == after.goal else rng.choice((FLOOR, TRAIL, GREY))})


def _two_agents(rng: random.Random, before: Board, after: Board) -> Board | None:
    assert before.agent
    if after.agent != before.agent and rng.random() < 0.5:
        return after.put({before.agent: AGENT})
    return _flip(rng, after, (FLOOR, GREY, TRAIL), (AGENT,), after.agent)


def _moved_early(rng: random.Random, before: Board, after: Board) -> Board | None:
    assert before.agent
    base = rng.choice((before, after))
    steps = [cell for cell in around(base, before.agent) if base.cells[cell[0]][cell[1]] in (FLOOR, GOAL)]
    return _shift_agent(rng, before, base, steps) if before.greying else None


def _route_greyed(rng: random.Random, before: Board, after: Board) -> Board | None:
    if after.greying and rng.random() < 0.5:  # the next wave in advance, or a part of it
        return after.put(dict.fromkeys(rng.sample(after.dead_ends, rng.randint(1, len(after.dead_ends))), GREY))
    return _flip(rng, after, (FLOOR,), (GREY,), rng.choice(before.dead_ends) if before.greying else after.agent)


def _dead_end_missed(rng: random.Random, before: Board, after: Board) -> Board | None:
    ends = before.dead_ends if before.greying else ()
    return after.put(dict.fromkeys(rng.sample(ends, 1 if rng.random() < 0.6 else rng.randint(1, len(ends))), FLOOR)) if ends else None


def _grey_shifted(rng: random.Random, before: Board, after: Board) -> Board | None:
    end = _pick(rng, before.dead_ends if before.greying else ())
    beside = _pick(rng, [cell for cell in around(before, end) if before.cells[cell[0]][cell[1]] in (FLOOR, WALL)]) if end else None
    return after.put({end: FLOOR, beside: GREY}) if end and beside else None


def _grey_lost(rng: random.Random, before: Board, after: Board) -> Board | None:
    cell = _pick(rng, places(before.cells, GREY))
    return after.put({cell: FLOOR}) if cell else None


def _trail_missing(rng: random.Random, before: Board, after: Board) -> Board | None:
    return after.put({before.agent: FLOOR}) if before.agent and after.agent != before.agent else None


def _swapped(rng: random.Random, before: Board, after: Board) -> Board | None:
    """Two of the cells that this step is about change places."""
    here = [(r, c) for r in range(after.n) for c in range(after.n)]
    active = [(r, c) for r, c in here if after.cells[r][c] != before.cells[r][c] or after.cells[r][c] in (AGENT, GOAL)]
    if len(active) < 2:
        return None
    (r, c), (s, d) = rng.sample(active, 2)
    return after.put({(r, c): after.cells[s][d], (s, d): after.cells[r][c]})


_GROUND = (FLOOR, GREY, TRAIL)
_MISTAKES: tuple[Mistake, ...] = (
    lambda rng, before, after: _flip(rng, after, (WALL,), (FLOOR, FLOOR, GREY, TRAIL, GOAL), after.agent),
    lambda rng, before, after: _flip(rng, after, (FLOOR, GREY, TRAIL), (WALL,), after.agent),
    lambda rng, before, after: _flip(rng, after, (WALL,), (FLOOR, GREY)),
    lambda rng, before, after: _flip(rng, after, (FLOOR, GREY), (WALL,)),
    lambda rng, before, after: _flip(rng, after, tuple(range(7)), (MARGIN,)),
    lambda rng, before, after: _flip(rng, after, tuple(range(7)), tuple(range(7))),
    lambda rng, before, after: _flip(rng, after, (FLOOR, GREY), (TRAIL,), after.agent),
    lambda rng, before, after: _flip(rng, after, (TRAIL,), (FLOOR, GREY)),
    lambda rng, before, after: before,
    _agent_in_wall,
    _goal_gone,
    _goal_moved,
    _no_agent,
    _two_agents,
    _agent_elsewhere((FLOOR, GOAL, GREY, TRAIL), 32),
    _agent_elsewhere((FLOOR, GOAL, GREY, TRAIL), 2),
    _agent_elsewhere((GREY,), 1),
    _agent_elsewhere((TRAIL,), 1),
    _moved_early,
    _route_greyed,
    _route_greyed,
    _dead_end_missed,
    _dead_end_missed,
    _grey_shifted,
    _grey_lost,
    _trail_missing,
    _swapped,
)
