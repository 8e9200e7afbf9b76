"""What evaluation measures, problem by problem: a unit of work goes in, a plain record comes out. Nothing is averaged here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agents import prompts
from agents.critics import model_critic
from agents.loop import DrawAgent
from agents.memo import Memo
from agents.settings import Settings
from agents.tasks import TASKS, Task, maze
from agents.tasks.maze_thoughts import free_thought
from agents.trace import Trace, fold
from unimm.document import Image
from unimm.model import UnifiedModel, draw, options_type, write

Record = dict[str, Any]

DRAWN: dict[str, dict[str, Any]] = {
    # The order is that of the work: the first is computed in full, so its times are measured; what the others share with it is not
    # computed again (agents.memo).
    "self": {"steer": "model"},
    "program": {"steer": "program"},
    "first": {"critique": False},
}
"""Conditions that draw, and the settings that make them; "direct", the answer at a glance, is the one that does not."""

CONDITIONS = ("direct", "first", "self", "program")
MOST_SECONDS = 600.0
"""Budget of one run: wide, so that a slow machine takes longer and does not score worse."""
SIDE_BY_SIDE = 10**6
"""Problems of one seed have the numbers ``seed * SIDE_BY_SIDE`` and up; those for the critic follow behind half of them."""


@dataclass(frozen=True)
class Exam:
    """Everything that decides what is measured; two runs of one exam with one model give the same records, times aside."""

    task: str = "maze"
    split: str = "test"
    n: int = 200
    sizes: tuple[int, ...] = (4, 5, 6, 7, 8)
    seed: int = 0
    temperature: float = 0.0
    conditions: tuple[str, ...] = CONDITIONS
    critic_n: int = 1000
    thought_n: int = 300
    style: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def settings(self, condition: str) -> Settings:
        return Settings(seed=self.seed, temperature=self.temperature, seconds=MOST_SECONDS, **DRAWN[condition])


@dataclass(frozen=True)
class Unit:
    """One piece of work: all conditions on one problem ("solve"), one right and two wrong pictures to judge ("judge"), or a
    picture to draw after a thought that is not the right one ("thought")."""

    kind: str
    size: int
    index: int

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.size}-{self.index}"


def units(exam: Exam) -> list[Unit]:
    """All work of an exam, the same problem never twice; sizes take turns, so that a part of it is a fair part.

    Small boards have few layouts: what is drawn a second time is replaced by further ones, at most ten times as many as asked for.
    """
    task, found = TASKS[exam.task], []
    for size in exam.sizes:
        seen: dict[Any, Unit] = {}
        for number in range(10 * exam.n if exam.conditions else 0):
            if len(seen) == exam.n:
                break
            unit = Unit("solve", size, exam.seed * SIDE_BY_SIDE + number)
            seen.setdefault(task.problem(exam.split, unit.index, size, exam.style).image.hash, unit)
        found.append(list(seen.values()))
    longest = max(map(len, found), default=0)
    solving = [rows[place] for place in range(longest) for rows in found if place < len(rows)]
    first = exam.seed * SIDE_BY_SIDE + SIDE_BY_SIDE // 2
    further = (("judge", exam.critic_n), ("thought", exam.thought_n))
    return solving + [Unit(kind, exam.sizes[i % len(exam.sizes)], first + i) for kind, count in further for i in range(count)]


def measure(exam: Exam, model: UnifiedModel, unit: Unit) -> Record:
    """The record of one unit: plain JSON data."""
    task = TASKS[exam.task]
    head = {"key": unit.key, "kind": unit.kind, "size": unit.size, "index": unit.index}
    if unit.kind == "judge":
        return head | {"pictures": list(_judged(exam, task, model, unit))}
    if unit.kind == "thought":
        return head | FOLLOWING[task.name](model, task.problem(exam.split, unit.index, unit.size, exam.style), random.Random(unit.key))
    problem, memo = task.problem(exam.split, unit.index, unit.size, exam.style), Memo(model)
    runs: dict[str, Record] = {}
    for name in DRAWN:
        if name in exam.conditions:
            runs[name] = _drawn(task, problem, memo, exam.settings(name))
    if "direct" in exam.conditions:
        runs["direct"] = _direct(task, problem, memo)
    named = {"id": problem.id, "layout": LAYOUTS[task.name](problem)}
    return head | named | {"runs": {name: runs[name] for name in CONDITIONS if name in runs}}


def _direct(task: Task, problem: Any, memo: Memo) -> Record:
    """The answer at one glance: one call for text, scored without any picture."""
    began = memo.clock()
    asks = prompts.wording(task, memo.capabilities)
    words = write(memo, asks.direct(problem.image), memo.options_type())
    seconds = memo.clock() - began
    right = task.score(problem, [], asks.parse_moves(words)).moves_right
    return {"success": right, "answer_right": right, "answer": words, "seconds": seconds}


def _drawn(task: Task, problem: Any, memo: Memo, settings: Settings) -> Record:
    trace = fold(DrawAgent(memo, task, settings, clock=memo.clock).events(problem))
    return run_record(task, problem, trace)


def run_record(task: Task, problem: Any, trace: Trace) -> Record:
    """What one run of the agent came to.

    ``success``: solved by the program's score. ``legal``: every kept picture is a legal next one. ``pictures`` are the kept ones,
    ``redraws`` the further ones. ``drawing_seconds`` is the model's time for pictures alone, ``seconds`` that of the whole run.
    ``unchanged``, ``identical``: cells that show the same in consecutive pictures, and those of them with the very same pixels.
    ``verdicts`` counts what model and program said of the same picture.
    """
    kept = trace.pictures()
    score = trace.score or task.score(problem, kept, trace.moves).to_dict()
    drawn = [item.picture for item in trace.rounds()]
    unchanged, identical = pixels_kept(task, trace)
    pairs = [(mine.ok, its.ok) for item in trace.rounds() if (mine := item.verdict("model")) and (its := item.verdict("program"))]
    said = {(True, True): "right_passed", (False, True): "right_refused", (True, False): "wrong_passed", (False, False): "wrong_refused"}
    return {
        "success": bool(score["solved"]), "legal": bool(kept) and score["legal_frames"] == len(kept), "answer_right": score["moves_right"],
        "pictures": len(kept), "redraws": sum(step.kind == "revise" for step in drawn), "seconds": trace.seconds,
        "drawing_seconds": sum(float(step.stats.get("seconds", 0.0)) for step in drawn), "unchanged": unchanged, "identical": identical,
        "verdicts": {name: sum(pair == key for pair in pairs) for key, name in said.items()} if pairs else {},
        "fault": score.get("fault"), "reason": trace.reason, "answer": trace.answer,
    }


def pixels_kept(task: Task, trace: Trace) -> tuple[int, int]:
    """(cells of the board that show the same in a kept picture and the one before, those whose pixels are the same bit for bit)."""
    reading = task.read(trace.start)
    unchanged = identical = 0
    for item in trace.rounds():
        if item.accepted and item.image is not None and item.before is not None:
            same = _same_cells(item.before, item.image, reading.n, reading.offset)
            still = np.ones_like(same)
            for row, column in item.changed:
                still[row, column] = False
            unchanged, identical = unchanged + int(still.sum()), identical + int((same & still).sum())
    return unchanged, identical


def _same_cells(before: Image, after: Image, n: int, offset: int) -> np.ndarray:
    """Which cells of an n x n board are the same in both pictures, pixel for pixel: bool [n, n]."""
    if (before.width, before.height) != (after.width, after.height):
        return np.zeros((n, n), bool)
    one, other = (np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3) for image in (before, after))
    cell = maze.SHOWN_PX
    board = np.s_[offset * cell : (offset + n) * cell]
    return (one == other).all(-1)[board, board].reshape(n, cell, n, cell).all((1, 3))


# --- the critic

Moment = tuple[Image, list[tuple[Image, bool, str | None, tuple[int, int] | None]]]
"""A picture, and next ones of it with the truth about each: right or not, kind of fault, cell."""


def _maze_moment(rng: random.Random, problem: maze.Problem) -> Moment:
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


MOMENTS: dict[str, Callable[[random.Random, Any], Moment]] = {"maze": _maze_moment}
"""Task -> what its critic is examined on."""
LAYOUTS: dict[str, Callable[[Any], str]] = {"maze": lambda problem: maze.canonical(problem.board)[:16]}
"""Task -> what problems have in common that differ in little else: boards with the same walls, turned, mirrored, other start and goal."""


def _judged(exam: Exam, task: Task, model: UnifiedModel, unit: Unit) -> Iterator[Record]:
    problem = task.problem(exam.split, unit.index, unit.size, exam.style)
    before, shown = MOMENTS[task.name](random.Random(f"critic:{unit.index}:{unit.size}"), problem)
    critic = model_critic(model, task)
    for image, ok, fault, where in shown:
        said = critic(problem, before, image)
        yield {
            "ok": ok, "fault": fault, "where": where and list(where), "said_ok": said.ok, "said_fault": said.fault,
            "said_where": said.where and list(said.where), "confidence": said.confidence, "words": said.words,
        }


# --- does the picture follow the thought?


def _follows_maze(model: UnifiedModel, problem: maze.Problem, rng: random.Random) -> Record:
    """One picture at a random moment of the solution, drawn after a thought that is not the right one.

    ``asked``: "dead ends" (some of them) or "step" (any); ``followed``: the picture is what the thought asks for;
    ``ignored``: it is the picture of the right thought instead. A thought that happens to be the right one is drawn again.
    """
    frames = [problem.board, *maze.solve(problem).frames]
    while True:
        board = rng.choice(frames[:-1])
        thought, asked = free_thought(rng, board) or ("", None)
        if asked is not None and asked != maze.next_board(board):
            break
    asks = prompts.wording(TASKS["maze"], model.capabilities)
    image = draw(model, asks.next_step(maze.render(board), thought), options_type(model)())
    drawn = maze.read(image, board.n).board if image is not None else None
    kind = "dead ends" if thought.startswith("dead ends") else "step"
    return {"asked": kind, "thought": thought, "followed": drawn == asked, "ignored": drawn == maze.next_board(board)}


FOLLOWING: dict[str, Callable[[UnifiedModel, Any, random.Random], Record]] = {"maze": _follows_maze}
"""Task -> how a picture is held against a thought that is not the right one."""
