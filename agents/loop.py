"""The loop: think, draw, critique, revise until the picture is right, then the next one; in the end, answer.

``DrawAgent`` is a LangChain ``Runnable``. The model only meets the questions of ``agents.prompts``; the program's
check stands beside its own verdict, and ``Settings.steer`` says which of them decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator

from agents.critics import Critic
from agents.events import AgentEvent, Event, Finished, Reason
from agents.frame import Halt, Run, Start, answer, draw_frame
from agents.resume import resume
from agents.settings import Settings
from agents.tasks import Task
from agents.trace import Branch, Trace, fold
from unimm.document import Image
from unimm.errors import BadInput
from unimm.model import UnifiedModel

__all__ = ["Branch", "DrawAgent", "Settings", "Trace"]


class DrawAgent(Runnable[Any, Any]):
    """Solves a problem by drawing.

    The input is a ``Problem`` of the task or a ``Branch`` of an earlier trace. ``stream`` yields the events of
    ``agents.events`` with the model's own in between (the agent's are dispatched as LangChain custom events too, under
    their class names), ``invoke`` returns the ``Trace``. ``critics`` replaces the critics "model" and "program" by others.
    ``clock`` gives seconds. What a model raises passes through.
    """

    def __init__(
        self, model: UnifiedModel, task: Task, settings: Settings = Settings(), critics: Mapping[str, Critic] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.task, self.settings, self.clock = model, task, settings, clock
        self.critics = dict(critics or {})
        self.name = "DrawAgent"
        unknown = set(self.critics) - {"model", "program"}
        if unknown:
            raise BadInput(f"A critic stands in for 'model' or 'program', not for {sorted(unknown)[0]!r}.")

    def events(self, given: Any, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """The run as a plain generator; ``stop`` is asked between events and ends the run with ``Finished("stopped")``."""
        run = Run(self, given, stop)
        yield run.started
        try:
            finished = yield from _solve(run, run.branch)
        except Halt as halt:
            finished = Finished(halt.reason, halt.words)
        yield replace(finished, seconds=run.seconds)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Event]:
        stop = kwargs.pop("stop", lambda: False)

        def run(inputs: Iterator[Any], config: RunnableConfig) -> Iterator[Event]:
            for given in inputs:
                for event in self.events(given, stop):
                    if isinstance(event, AgentEvent):
                        dispatch_custom_event(type(event).__name__, event, config=config)
                    yield event

        yield from RunnableGenerator(run, name=self.name).stream(input, config, **kwargs)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Trace:
        return fold(self.stream(input, config, **kwargs))

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Event]:
        stop = kwargs.pop("stop", lambda: False)

        async def run(inputs: AsyncIterator[Any], config: RunnableConfig) -> AsyncIterator[Event]:
            async for given in inputs:
                events = self.events(given, stop)
                try:
                    while (event := await asyncio.to_thread(next, events, None)) is not None:
                        if isinstance(event, AgentEvent):
                            await adispatch_custom_event(type(event).__name__, event, config=config)
                        yield event
                finally:
                    events.close()

        async for event in RunnableGenerator(run, name=self.name).astream(input, config, **kwargs):
            yield event

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Trace:
        return fold([event async for event in self.astream(input, config, **kwargs)])


def _solve(run: Run, branch: Branch | None) -> Generator[Event, None, Finished]:
    """All frames from where the run stands, then the answer."""
    frame, start = 1, Start()
    if branch is not None:
        frame, start = yield from resume(run, branch)
    while True:
        if start.answer or (draft := (yield from draw_frame(run, frame, start))) is None:
            return (yield from answer(run, frame))
        if run.options(frame, 0).temperature == 0 and _nothing_new(run, draft.image):
            return (yield from _end(run, frame, "no gain", f"Picture {frame} shows what the one before shows, so the next would too."))
        run.frames.append(draft.image)
        run.picture = draft.image
        if run.task.pictures is not None and frame >= run.task.pictures:
            return (yield from answer(run, frame + 1, Finished("satisfied", "The picture that was asked for is drawn.")))
        if frame >= run.settings.max_frames:
            words = f"{run.settings.max_frames} pictures are drawn, which is the limit."
            return (yield from _end(run, frame, "step limit", words))
        frame, start = frame + 1, Start()


def _nothing_new(run: Run, image: Image) -> bool:
    """Whether a picture is the one before, or shows the same: a line that is drawn once more can be a shade thinner, time and again."""
    return image == run.picture or not run.changed(run.picture, image)


def _end(run: Run, frame: int, reason: Reason, words: str) -> Generator[Event, None, Finished]:
    """The end of a run whose model did not say that it was done: what can be answered from the last picture is answered."""
    finished = Finished(reason, words)
    return finished if run.task.walked_words is not None else (yield from answer(run, frame + 1, finished))
