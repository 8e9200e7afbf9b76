"""What the model draws in whole runs, redraws among it: slower to come by than slips, and what a critic really has to judge."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from agents.loop import DrawAgent
from agents.measure import BOLD, MOST_SECONDS
from agents.mistakes import Drawing
from agents.settings import Settings
from agents.tasks import Group, Task
from agents.trace import Trace, fold
from unimm.model import UnifiedModel


def run_pictures(model: UnifiedModel, task: Task, seed: int, groups: Sequence[Group] = ()) -> Iterator[Drawing]:
    """Pictures of runs on problems of the split train without end, half of the runs bold ones; the same seed gives the same.

    ``groups`` are the groups of problems (none: all of the task).
    """
    rng = random.Random(f"runs:{seed}")
    while True:
        problem = task.problem("train", rng.randrange(10**9), rng.choice(list(groups or task.groups)))
        temperature = rng.choice((0.0, BOLD.get(task.name, 1.0)))
        settings = Settings(seed=rng.randrange(2**31), temperature=temperature, seconds=MOST_SECONDS)
        yield from drawings(task, problem, fold(DrawAgent(model, task, settings).events(problem)))


def drawings(task: Task, problem: Any, trace: Trace) -> Iterator[Drawing]:
    """The different pictures of a run, each with the one that would have been right there if all before it was."""
    frames, seen = task.solve(problem).frames, set()
    for item in trace.rounds():
        key = (item.before.hash, item.image.hash) if item.before and item.image else None
        if key and key not in seen:
            seen.add(key)
            yield Drawing(problem, item.before, task.render(frames[min(item.frame, len(frames)) - 1]), item.thought, item.image)
