"""What one run of the agent keeps track of while it goes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image as PILImage

from agents import prompts
from agents.critics import model_critic, program_critic
from agents.events import Cell, Critiqued, Kind, Reason, RunStarted, StepStarted
from agents.settings import options_for
from agents.trace import Branch
from unimm.document import Document, Image
from unimm.errors import BadInput
from unimm.events import ModelEvent, PartDone
from unimm.model import Options, Want, can_do

if TYPE_CHECKING:
    from agents.loop import DrawAgent


class Halt(Exception):
    """Ends a run from anywhere inside it."""

    def __init__(self, reason: Reason, words: str) -> None:
        self.reason, self.words = reason, words


@dataclass(frozen=True)
class Draft:
    """A picture of the frame under way: the step it came from, its verdicts, and its worth (higher is better)."""

    step: int
    image: Image
    round: int = 0
    verdicts: tuple[Critiqued, ...] = ()
    ok: bool = False
    worth: float = 0.0
    edited: bool = False


class Run:
    """What one run keeps track of."""

    def __init__(self, agent: DrawAgent, given: Any, stop: Callable[[], bool]) -> None:
        self.branch = given if isinstance(given, Branch) else None
        trace = self.branch.trace if self.branch else None
        # A picture is checked when it is drawn and again by the program's critic: reading it once is enough.
        self.task = replace(agent.task, check=lru_cache(maxsize=8)(agent.task.check))
        self.model, self.clock, self.stop = agent.model, agent.clock, stop
        if not can_do(agent.model.capabilities, self.task.name):
            raise BadInput(f"{agent.model.name} was not trained on the task {self.task.name}. Choose another model.")
        self.asks = prompts.wording(self.task, agent.model.capabilities)
        if trace is not None and trace.task != self.task.name:
            raise BadInput(f"This trace is of the task {trace.task[:40]!r}; open it with an agent for that task.")
        self.problem = self.task.from_dict(trace.problem) if trace else given
        if self.problem.task != self.task.name:
            raise BadInput(f"This problem is of the task {self.problem.task!r}; give it to an agent for that task.")
        seed = self.branch.seed if self.branch else None
        self.settings = agent.settings if seed is None else replace(agent.settings, seed=seed)
        self.began = self.clock()
        self.next_id = len(trace.steps) if trace else 0
        self.parent: int | None = None
        self.picture: Image = self.problem.image  # the kept picture that the next frame starts from
        self.frames: list[Image] = []
        self.moves: list[str] = []
        self.doubt: tuple[int, Reason] | None = None  # the first frame that was kept without satisfying the critic
        self.total = self.task.about(self.problem)
        self.critics = {
            "program": program_critic(self.task),
            "model": model_critic(self.model, self.task, poll=self.poll),
            **agent.critics,
        }
        self.started = RunStarted(
            self.task.name,
            self.problem.to_dict(),
            self.model.name,
            self.settings.to_dict(),
            self.problem.image,
            self.total,
            trace.steps if trace else (),
            self.branch.step if self.branch else None,
        )

    @property
    def seconds(self) -> float:
        return self.clock() - self.began

    def poll(self) -> None:
        """Ends the run where it was stopped or its time is used up."""
        if self.stop():
            raise Halt("stopped", "Stopped.")
        if self.seconds > self.settings.seconds:
            raise Halt("time used up", f"The budget of {self.settings.seconds:g} seconds is used up.")

    def step(
        self,
        kind: Kind,
        frame: int,
        round: int = 0,
        before: Image | None = None,
        of: int | None = None,
        edited: bool = False,
        draft: int = 0,
    ) -> StepStarted:
        """The start of the next step; its parent is the step before it."""
        self.poll()
        about = f"picture {frame} of about {self.total}" if kind != "answer" else "the answer"
        about += f", draft {draft + 1} of {self.settings.best_of}" if draft else ""
        started = StepStarted(self.next_id, kind, frame, round, self.parent, about, before, of, edited)
        self.parent = self.next_id
        self.next_id += 1
        return started

    def ask(self, document: Document, want: Want, options: Options) -> Generator[ModelEvent, None, None]:
        """The model's events; stops between any two of them."""
        with closing(self.model.stream(document, want, options)) as events:
            for event in events:
                self.poll()
                yield event

    def options(self, frame: int, round: int) -> Options:
        return options_for(self.model, self.settings, frame, round)

    def fitted(self, image: Image) -> Image:
        """A drawn picture at the size of the run's pictures, whatever size the model draws."""
        return fitted(image, self.problem.image)

    def note_move(self, thought: str, before: Image, after: Image, own: bool) -> None:
        """Remember the move of a kept picture: what its thought says, or what it shows where it is not that thought's ``own``."""
        if self.task.parse_move is None or self.task.move_between is None:
            return
        move = self.asks.parse_move(thought) if own else None
        if move is None and not (own and self.asks.taught):  # an untaught thought may say it in words that nobody can parse
            move = self.task.move_between(before, after)
        self.moves += [move] if move else []

    def changed(self, before: Image, after: Image) -> tuple[Cell, ...]:
        return tuple(self.task.check(self.problem, before, after).changed)


Verdicts = dict[Image, tuple[Critiqued, ...]]
"""The verdicts that a frame's pictures got so far."""


@dataclass(frozen=True)
class Start:
    """Where in a frame to begin: at its thought, or with a thought, or with a picture, or with a judged one."""

    thought: str | None = None
    draft: Draft | None = None
    round: int = 0
    answer: bool = False


def fitted(image: Image, like: Image) -> Image:
    """A picture at the size of another one."""
    size = (like.width, like.height)
    return image if (image.width, image.height) == size else Image.from_pil(image.to_pil().resize(size, PILImage.Resampling.BOX))


def measured(event: PartDone) -> dict[str, float]:
    """What was measured of a part, as far as it is a number: a list of a number a word is not kept."""
    return {name: value for name, value in event.stats.items() if isinstance(value, (int, float))}
