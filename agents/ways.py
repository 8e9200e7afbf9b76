"""Ways to work on a problem beside the whole loop: answering at a glance, to hold it against; only judging a picture."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from agents.events import Answered, Event, Finished, Kept, StepDone, StepStarted
from agents.frame import Halt, Run, measured
from agents.loop import DrawAgent
from agents.measure import halves
from agents.settings import Settings
from agents.tasks import Task
from unimm.document import Image, Text
from unimm.events import PartDone
from unimm.model import UnifiedModel


@dataclass(frozen=True)
class Glance:
    """Answers at one glance at the problem: in words without drawing, or, where the answer is a picture, drawn at once without
    a thought. Its events are those of a run with a single step."""

    model: UnifiedModel
    task: Task
    settings: Settings

    def events(self, given: Any, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """See ``DrawAgent.events``."""
        run = Run(DrawAgent(self.model, self.task, self.settings), given, stop)
        yield run.started
        try:
            finished = yield from _glance(run)
        except Halt as halt:
            finished = Finished(halt.reason, halt.words)
        yield replace(finished, seconds=run.seconds)


def _glance(run: Run) -> Generator[Event, None, Finished]:
    drawn = not run.asks.answers(run.problem, run.picture)  # then the answer is a picture
    began, started = run.clock(), run.step("draw" if drawn else "answer", 1, before=run.picture)
    yield started
    words, stats, images = "", {}, []
    options = replace(run.options(1, 0), think=False)
    for event in run.ask(run.asks.direct(run.problem, run.picture), "image" if drawn else "text", options):
        if isinstance(event, PartDone):
            stats = measured(event)
            if isinstance(event.part, Image):
                images.append(run.fitted(event.part))
            else:
                words = event.part.text
        yield event
    part = images[0] if images else Text(words)
    changed = run.changed(run.picture, images[0]) if images else ()
    yield StepDone(started.index, run.clock() - began, part, changed, stats)
    if images:
        yield Kept(started.index, started.index, "satisfied")
    answer = tuple(run.asks.parse_answer(words))
    score = run.task.score(run.problem, images, answer).to_dict()
    yield Answered(words, answer, {**score, "solved": bool(halves(score)[0 if drawn else 1])})
    return Finished("satisfied", "The model answered at a glance.")


@dataclass(frozen=True)
class Judge:
    """Only judges: a run, usually a branch with a visitor's picture, that ends after its first critique."""

    model: UnifiedModel
    task: Task
    settings: Settings

    def events(self, given: Any, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """See ``DrawAgent.events``."""
        critique = None
        with closing(DrawAgent(self.model, self.task, self.settings).events(given, stop)) as events:
            for event in events:
                yield event
                if isinstance(event, StepStarted) and event.kind == "critique":
                    critique = event.index
                elif isinstance(event, StepDone) and event.index == critique:
                    yield Finished("step limit", "The picture is judged; nothing else was asked for.", event.seconds)
                    return


WAYS: dict[str, Callable[[UnifiedModel, Task, Settings], Any]] = {"draw": DrawAgent, "glance": Glance, "judge": Judge}
"""Way of working -> the agent that works so."""
