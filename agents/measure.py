"""What evaluation measures, problem by problem: a unit of work goes in, a plain record comes out. Nothing is averaged here."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from einops import rearrange

from agents import prompts
from agents.critics import heat_of, model_critic
from agents.events import Critiqued
from agents.loop import DrawAgent
from agents.memo import Memo
from agents.settings import Settings, options_for
from agents.state import fitted
from agents.tasks import TASKS, Cell, Group, Task, Verdict, maze
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
    "best": {"best_of": 2, "rounds": 0},
    "mended": {"steer": "model", "temperature": None},
    "bold": {"critique": False, "temperature": None},
    "words": {"critique": False, "thoughts": "words"},
    "bare": {"critique": False, "thoughts": "none"},
}
"""Conditions that draw, and the settings that make them; "direct", the answer at a glance, is the one that does not think. A temperature
that is None is the task's of BOLD."""

BOLD: dict[str, float] = {"maze": 1.2, "geometry": 1.6, "compose": 1.6}
"""Task -> a temperature at which first drawings of the embedded model often fail: what critique is worth shows there."""

EVERY = ("direct", "first", "self", "program", "best", "bold", "mended", "words", "bare")
CONDITIONS, FURTHER = EVERY[:4], EVERY[4:]
JUDGED = ("self", "mended")
"""Conditions whose own drawings the critic is examined on."""
MOST_SECONDS = 600.0
"""Budget of one run: wide, so that a slow machine takes longer and does not score worse."""
SIDE_BY_SIDE = 10**6
"""Problems of one seed have the numbers ``seed * SIDE_BY_SIDE`` and up; those for the critic follow behind half of them."""


@dataclass(frozen=True)
class Exam:
    """Everything that decides what is measured; two runs of one exam with one model give the same records, times aside.

    ``sizes`` are the groups of problems (sizes of boards, kinds of questions); ``n`` counts the problems of each of them, or
    with ``spread`` those of all together. ``further_n`` of these problems (None: all) are also run under the conditions FURTHER.
    """

    task: str = "maze"
    split: str = "test"
    n: int = 200
    sizes: tuple[Group, ...] = (4, 5, 6, 7, 8)
    seed: int = 0
    temperature: float = 0.0
    conditions: tuple[str, ...] = CONDITIONS
    critic_n: int = 1000
    thought_n: int = 300
    style: str | None = None
    spread: bool = False
    further_n: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Exam:
        """Inverse of ``to_dict``, of files written before there were further fields too."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})

    def settings(self, condition: str, about: int = 0) -> Settings:
        """Of a run that takes ``about`` so many pictures (0: not known). Far beyond them a run has lost its way."""
        most = about + 10 if about and "thoughts" in DRAWN[condition] else max(Settings().max_frames, about + 20)
        drawn = {"temperature": self.temperature} | DRAWN[condition]
        if drawn["temperature"] is None:
            drawn["temperature"] = BOLD.get(self.task, 1.0)
        return Settings(seed=self.seed, seconds=MOST_SECONDS, max_frames=min(most, 400), **drawn)

    def conditions_of(self, unit: Unit) -> tuple[str, ...]:
        """The conditions of a problem: those of FURTHER, which cost most, only where it is one of the first of its group."""
        if self.further_n is None or unit.index % SIDE_BY_SIDE < replace(self, n=self.further_n).count(unit.size):
            return self.conditions
        return tuple(name for name in self.conditions if name not in FURTHER)

    def count(self, group: Group) -> int:
        """How many problems of a group there are."""
        if not self.spread:
            return self.n
        each, over = divmod(self.n, len(self.sizes))
        return each + (self.sizes.index(group) < over)


@dataclass(frozen=True)
class Unit:
    """One piece of work: all conditions on one problem ("solve"), one right and some wrong pictures to judge ("judge"), or a
    picture to draw after a thought that is not the right one ("thought")."""

    kind: str
    size: Group
    index: int

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.size}-{self.index}"


def units(exam: Exam) -> list[Unit]:
    """All work of an exam, the same problem never twice; groups take turns, so that a part of it is a fair part.

    Small boards have few layouts: what comes a second time is replaced by further ones, at most ten times as many as asked for.
    """
    task, found = TASKS[exam.task], []
    for size in exam.sizes:
        seen: dict[Any, Unit] = {}
        wanted = exam.count(size) if exam.conditions else 0
        for number in range(10 * wanted):
            if len(seen) == wanted:
                break
            unit = Unit("solve", size, exam.seed * SIDE_BY_SIDE + number)
            seen.setdefault(_content(task.problem(exam.split, unit.index, size, exam.style)), unit)
        found.append(list(seen.values()))
    longest = max(map(len, found), default=0)
    solving = [rows[place] for place in range(longest) for rows in found if place < len(rows)]
    first = exam.seed * SIDE_BY_SIDE + SIDE_BY_SIDE // 2
    further = (("judge", exam.critic_n), ("thought", exam.thought_n if exam.task in FOLLOWING else 0))
    return solving + [Unit(kind, exam.sizes[i % len(exam.sizes)], first + i) for kind, count in further for i in range(count)]


def _content(problem: Any) -> str:
    """All of a problem but its name: its picture alone may be a blank sheet."""
    return json.dumps({name: value for name, value in problem.to_dict().items() if name != "id"}, sort_keys=True)


def measure(exam: Exam, model: UnifiedModel, unit: Unit) -> Record:
    """The record of one unit: plain JSON data."""
    task = TASKS[exam.task]
    head = {"key": unit.key, "kind": unit.kind, "size": unit.size, "index": unit.index}
    if unit.kind == "judge":
        return head | {"heat": heat_of(model, task), "pictures": list(_judged(exam, task, model, unit))}
    if unit.kind == "thought":
        return head | FOLLOWING[task.name](model, task.problem(exam.split, unit.index, unit.size, exam.style), random.Random(unit.key))
    problem, memo = task.problem(exam.split, unit.index, unit.size, exam.style), Memo(model)
    runs: dict[str, Record] = {}
    asked = exam.conditions_of(unit)
    for name in DRAWN:
        if name in asked:
            trace = _drawn(task, problem, memo, exam.settings(name, task.about(problem)))
            runs[name] = run_record(task, problem, trace)
            if name in JUDGED and exam.spread:
                runs[name] |= {"heat": heat_of(model, task), "judged": list(_own(task, problem, trace))}
    if "direct" in asked:
        runs["direct"] = _direct(task, problem, memo, exam)
    named = {"id": problem.id, "layout": task.layout(problem)}
    return head | named | {"runs": {name: runs[name] for name in EVERY if name in runs}}


def _direct(task: Task, problem: Any, memo: Memo, exam: Exam) -> Record:
    """The answer at one glance: one call for text, scored without any picture; one for a picture where that is the answer."""
    began = memo.clock()
    asks = prompts.wording(task, memo.capabilities)
    if "answer" in task.asks(problem):
        words = write(memo, asks.direct(problem, problem.image), memo.options_type())
        seconds = memo.clock() - began
        right = halves(task.score(problem, [], asks.parse_answer(words)).to_dict())[1]
        return {"success": bool(right), "answer_right": right, "answer": words, "seconds": seconds}
    options = replace(options_for(memo, exam.settings("first"), 1, 0), think=False)
    image = draw(memo, asks.direct(problem, problem.image), options)
    seconds = memo.clock() - began
    score = task.score(problem, [fitted(image, problem.image)] if image else [], ()).to_dict()
    return {"success": bool(score["solved"]), "answer_right": None, "answer": "", "fault": score.get("fault"), "seconds": seconds}


def _drawn(task: Task, problem: Any, memo: Memo, settings: Settings) -> Trace:
    return fold(DrawAgent(memo, task, settings, clock=memo.clock).events(problem))


def halves(score: Mapping[str, Any]) -> tuple[bool, bool | None]:
    """(the pictures are right, the answer is right) by a task's score; the latter None where there is no answer in words."""
    if "drawn" in score:
        return bool(score["drawn"]), score["answer_right"]
    return score["frames"] > 0 and score["legal_frames"] == score["frames"], score["moves_right"]


def run_record(task: Task, problem: Any, trace: Trace) -> Record:
    """What one run of the agent came to.

    ``success``: solved by the program's score. ``legal``: the kept pictures are right. ``pictures`` are the kept ones,
    ``redraws`` the further ones. ``drawing_seconds`` is the model's time for pictures alone, ``seconds`` that of the whole run.
    ``unchanged``, ``identical``: cells that show the same in consecutive pictures, and those of them with the very same pixels.
    ``verdicts`` counts what model and program said of the same picture.
    """
    kept = trace.pictures()
    score = trace.score or task.score(problem, kept, trace.moves).to_dict()
    legal, answered = halves(score)
    rounds = trace.rounds()
    unchanged, identical = pixels_kept(task, trace)
    both = ((item.verdict("model"), item.verdict("program")) for item in rounds)
    pairs = [(mine.ok, its.ok) for mine, its in both if mine is not None and its is not None]
    said = {(True, True): "right_passed", (False, True): "right_refused", (True, False): "wrong_passed", (False, False): "wrong_refused"}
    return {
        "success": bool(score["solved"]), "legal": legal, "answer_right": answered,
        "pictures": len(kept), "redraws": len(rounds) - len({item.frame for item in rounds}), "seconds": trace.seconds,
        "drawing_seconds": sum(float(item.picture.stats.get("seconds", 0.0)) for item in rounds), "unchanged": unchanged,
        "identical": identical, "verdicts": {name: sum(pair == key for pair in pairs) for key, name in said.items()} if pairs else {},
        "fault": score.get("fault"), "reason": trace.reason, "answer": trace.answer,
    }  # fmt: skip


def _own(task: Task, problem: Any, trace: Trace) -> Iterator[Record]:
    """What model and program said of the pictures that were drawn; of those that show the same in one place of the run, the first."""
    seen = set[tuple[Any, ...]]()
    for item in trace.rounds():
        mine, its = item.verdict("model"), item.verdict("program")
        shown = (item.frame, item.changed, its and its.words)
        if mine is not None and its is not None and shown not in seen and item.before is not None and item.image is not None:
            seen.add(shown)
            places = partial(task.places, problem, item.before, item.image)
            yield {"round": item.number} | _pair((its.ok, its.fault, its.where), mine, places)


def examined(record: Record) -> list[Record]:
    """The runs of a record in which the critic was examined on the model's own drawings ("judged")."""
    return [run for name in JUDGED if "judged" in (run := record.get("runs", {}).get(name, {}))]


def _pair(truth: Verdict, said: Critiqued, places: Callable[[], Collection[Cell]]) -> Record:
    """The truth about a picture beside what the model said of it. ``places`` finds further ones that are right to name in a wrong one."""
    ok, fault, where = truth
    return {
        "ok": ok, "fault": fault, "where": where and list(where), "said_ok": said.ok, "said_fault": said.fault,
        "said_where": said.where and list(said.where), "confidence": said.confidence, "words": said.words,
        "there": said.where == where or (not ok and said.where in places()),
    }  # fmt: skip


def pixels_kept(task: Task, trace: Trace) -> tuple[int, int]:
    """(cells of the task's grid that show the same in a kept picture and the one before, those whose pixels are the same bit for bit)."""
    grid = task.grid(task.from_dict(trace.problem))
    unchanged = identical = 0
    for item in trace.rounds():
        if item.accepted and item.image is not None and item.before is not None:
            same = _same_cells(item.before, item.image, *grid)
            still = np.ones_like(same)
            for row, column in item.changed:
                if max(row, column) < len(still):
                    still[row, column] = False
            unchanged, identical = unchanged + int(still.sum()), identical + int((same & still).sum())
    return unchanged, identical


def _same_cells(before: Image, after: Image, first: int, count: int, whole: int) -> np.ndarray:
    """Which cells of a grid are the same in both pictures, pixel for pixel: bool [count, count]."""
    if (before.width, before.height) != (after.width, after.height):
        return np.zeros((count, count), bool)
    one, other = (np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3) for image in (before, after))
    cell = before.width // whole
    part = np.s_[first * cell : (first + count) * cell]
    return rearrange((one == other).all(-1)[part, part], "(r a) (c b) -> r c (a b)", r=count, c=count).all(-1)


# --- the critic


def _judged(exam: Exam, task: Task, model: UnifiedModel, unit: Unit) -> Iterator[Record]:
    problem = task.problem(exam.split, unit.index, unit.size, exam.style)
    before, shown = task.moment(random.Random(f"critic:{unit.index}:{unit.size}"), problem)
    critic = model_critic(model, task)
    for image, *truth in shown:
        yield _pair(tuple(truth), critic(problem, before, image), partial(task.places, problem, before, image))


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
    image = draw(model, asks.next_step(problem, maze.render(board), thought), options_type(model)())
    drawn = maze.read(image, board.n).board if image is not None else None
    kind = "dead ends" if thought.startswith("dead ends") else "step"
    return {"asked": kind, "thought": thought, "followed": drawn == asked, "ignored": drawn == maze.next_board(board)}


FOLLOWING: dict[str, Callable[[UnifiedModel, Any, random.Random], Record]] = {"maze": _follows_maze}
"""Task -> how a picture is held against a thought that is not the right one."""
