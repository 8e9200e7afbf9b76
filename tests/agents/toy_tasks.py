"""Two tiny tasks beside the maze: one answers a question with the help of its pictures, in the other the last picture is the answer."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image as PILImage

from agents.scripted import CAPABILITIES, ScriptedModel
from agents.tasks import Cell, Task
from agents.tasks.maze_words import cell_at, cell_name
from unimm.document import Document, Image, Text

Cells = frozenset[Cell]
PX = 4


def render(cells: Cells) -> Image:
    pixels = np.full((8, 8, 3), 255, np.uint8)
    for cell in cells:
        pixels[cell] = 0
    return Image.from_pil(PILImage.fromarray(pixels.repeat(PX, 0).repeat(PX, 1)))


def read(image: Image) -> Cells:
    pixels = np.asarray(image.to_pil())[:: image.height // 8, :: image.width // 8, 0]
    return frozenset((int(r), int(c)) for r, c in np.argwhere(pixels < 128))


@dataclass(frozen=True)
class Problem:
    task: str
    id: str
    goal: tuple[Cell, ...]
    """In "marks" the cells to mark one after the other, in "sheets" all that has to be there."""

    @property
    def image(self) -> Image:
        return render(frozenset())

    @property
    def words(self) -> str:
        return " ".join(map(cell_name, self.goal))

    def to_dict(self) -> dict[str, Any]:
        return {"task": self.task, "id": self.id, "goal": [list(cell) for cell in self.goal]}


def from_dict(data: dict[str, Any]) -> Problem:
    return Problem(data["task"], data["id"], tuple((r, c) for r, c in data["goal"]))


def problem(task: str, split: str, index: int, group: str | None = None) -> Problem:
    rng = random.Random(f"{task}/{split}/{index}/{group}")
    cells = [(r, c) for r in range(8) for c in range(8)]
    return Problem(task, f"{task}-{split}-{index}-{group}", tuple(sorted(rng.sample(cells, 3 if group == "three" else 2))))


@dataclass(frozen=True)
class Check:
    ok: bool
    fault: str | None
    where: Cell | None
    words: str
    changed: tuple[Cell, ...]


def wanted(problem: Problem, before: Cells) -> Cells:
    if problem.task == "sheets":
        return frozenset(problem.goal)
    return before | set([cell for cell in problem.goal if cell not in before][:1])


def check(problem: Problem, before: Image, after: Image) -> Check:
    old, new = read(before), read(after)
    right = wanted(problem, old)
    fault, where = ("missing", min(right - new)) if right - new else ("extra", min(new - right)) if new - right else (None, None)
    verdict = "correct ." if fault is None else f"wrong . {FAULTS[fault]} at {cell_name(where)} ."
    words = (
        verdict if problem.task == "marks" else f"see : {len(new)} . check : yes , no . {verdict}" + " plan : put it right ." * bool(fault)
    )
    return Check(fault is None, fault, where, words, tuple(sorted(old ^ new)))


FAULTS = {"missing": "is missing", "extra": "too many"}


@dataclass(frozen=True)
class Score:
    solved: bool
    drawn: bool
    answer_right: bool | None
    fault: str | None = None
    where: list[int] | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def score(problem: Problem, frames: Sequence[Image], answer: Sequence[str]) -> Score:
    drawn = bool(frames) and read(frames[-1]) == set(problem.goal)
    right = tuple(answer) == (str(len(problem.goal)),) if problem.task == "marks" else None
    return Score(drawn and right is not False, drawn, right, None if drawn else "missing")


def parse_verdict(text: str) -> tuple[bool, str | None, Cell | None]:
    kinds = {words: kind for kind, words in FAULTS.items()}
    found = re.search(r"wrong \. (is missing|too many) at (\w+) \.", text)
    return (False, kinds[found[1]], cell_at(found[2])) if found else (" correct ." in f" {text}", None, None)


def moment(rng: random.Random, problem: Problem) -> tuple[Image, list[tuple[Image, bool, str | None, Cell | None]]]:
    before, right = frozenset(), wanted(problem, frozenset())
    shown = [render(cells) for cells in (right, right - {min(right)}, right | {rng.choice([(7, 7), (7, 6)])})]
    truths = [check(problem, render(before), image) for image in shown]
    return render(before), [(image, truth.ok, truth.fault, truth.where) for image, truth in zip(shown, truths, strict=True)]


@dataclass(frozen=True)
class Solution:
    frames: tuple[Cells, ...]


def solve(problem: Problem) -> Solution:
    steps = range(1, len(problem.goal) + 1) if problem.task == "marks" else [len(problem.goal)]
    return Solution(tuple(frozenset(problem.goal[:count]) for count in steps))


def task(name: str) -> Task:
    def asks(problem: Problem) -> dict[str, str]:
        kinds = ("next", "judge", "direct", *(("answer",) if name == "marks" else ()))
        return {kind: f"{name} {kind} : {problem.words}" for kind in kinds} | {"describe": f"{name} describe"}

    return Task(
        name=name, asks=asks, faults=FAULTS, splits=("train", "test"), groups=("two", "three"),
        problem=lambda split, index, group=None, style=None: problem(name, split, index, group), from_dict=from_dict, solve=solve,
        render=render, check=check, score=score, done=lambda thought: "done" in thought, parse_verdict=parse_verdict, moment=moment,
        rules="Cells are black or white.", parse_answer=lambda text: tuple(re.findall(r"\d+", text)), request=lambda problem: problem.words,
    )  # fmt: skip


MARKS, SHEETS = task("marks"), task("sheets")

Draw = Callable[[Problem, Cells, Any], Cells]
"""(problem, picture before, options) -> what is drawn at first."""


def model(draw: Draw | None = None, judge: Callable[[Problem, Image, Image], str] | None = None, name: str = "toy") -> ScriptedModel:
    """Solves both tasks by the rules, except where it is told to slip."""
    draw = draw or (lambda problem, before, options: wanted(problem, before))
    judge = judge or (lambda problem, before, after: check(problem, before, after).words)

    def script(document: Document, want: str, options: Any):
        pictures = [part for part in document.turns[0].parts if isinstance(part, Image)]
        asked = next(part.text for part in document.turns[0].parts if isinstance(part, Text))
        given = document.turns[-1].parts[0].text if len(document.turns) > 1 else None
        named = asked.split(" : ")[-1].split()
        task, kind = [*asked.split(), "", ""][:2]
        if kind not in ("next", "judge", "direct", "answer"):  # words read anew: a thought, or a verdict
            yield render(read(pictures[0]) | {cell for word in asked.split() if (cell := cell_at(word))})
            return
        given_problem = Problem(task, "", tuple(cell for word in named if (cell := cell_at(word))))
        if want == "text":
            yield Text(judge(given_problem, *pictures) if kind == "judge" else f"answer : {len(named)} .")
        elif kind == "judge":
            yield render(wanted(given_problem, read(pictures[0])))
        else:
            left = [cell for cell in given_problem.goal if cell not in read(pictures[0])]
            plan = f"plan : {' '.join(map(cell_name, left[:1] if task == 'marks' else left))} ." if left else "all there . done ."
            if given is None and options.think and kind == "next":
                yield Text(plan)
            if left or not options.think:
                yield render(draw(given_problem, read(pictures[0]), options))

    scripted = ScriptedModel(script, name)
    scripted.capabilities = replace(CAPABILITIES, image_sizes=(32,), taught=("marks", "sheets"))
    return scripted
