"""One frame: think, draw, then critique and revise until a stop rule holds. The loop strings frames together."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image as PILImage

from agents import prompts
from agents.critics import model_critic, program_critic
from agents.events import Answered, Cell, Critiqued, Event, Finished, Kept, Kind, Reason, RunStarted, StepDone, StepStarted
from agents.settings import options_for
from agents.trace import Branch
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, ModelEvent, PartDone, TextDelta
from unimm.model import Options, Want

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
            "program": program_critic(self.task), "model": model_critic(self.model, self.task, poll=self.poll), **agent.critics,
        }
        self.started = RunStarted(
            self.task.name, self.problem.to_dict(), self.model.name, self.settings.to_dict(), self.problem.image, self.total,
            trace.steps if trace else (), self.branch.step if self.branch else None,
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
        self, kind: Kind, frame: int, round: int = 0, before: Image | None = None, of: int | None = None, edited: bool = False,
    ) -> StepStarted:
        """The start of the next step; its parent is the step before it."""
        self.poll()
        about = f"picture {frame} of about {self.total}" if kind != "answer" else "the answer"
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
        size = (self.problem.image.width, self.problem.image.height)
        return image if (image.width, image.height) == size else Image.from_pil(image.to_pil().resize(size, PILImage.Resampling.BOX))

    def note_move(self, thought: str, before: Image, after: Image, own: bool) -> None:
        """Remember the move of a kept picture: what its thought says, or what it shows where it is not that thought's ``own``."""
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


def draw_frame(run: Run, frame: int, start: Start) -> Generator[Event, None, Draft | None]:
    """One picture of the solution: returns the draft that is kept, or None where the model says that it is done."""
    before, thought, best = run.picture, start.thought or "", start.draft
    if best is None:
        thought, best = yield from _draw(run, frame, before, start.thought)
        if best is None:
            return None
    reason: Reason = "satisfied"
    known: Verdicts = {}
    if run.settings.critique or best.verdicts:
        if not best.verdicts:
            best = yield from _critique(run, frame, before, best, known)
        best, reason = yield from _improve(run, frame, before, best, max(best.round, start.round), known)
    yield Kept(run.parent or 0, best.step, reason)
    if reason != "satisfied":
        run.doubt = run.doubt or (frame, reason)
        if reason == "contradiction" or run.settings.steer != "model" or not run.settings.go_on:
            raise Halt(reason, _doubt_words(frame, reason))
    run.note_move(thought, before, best.image, own=best.round == 0 and not best.edited)
    return best


def _draw(run: Run, frame: int, before: Image, thought: str | None) -> Generator[Event, None, tuple[str, Draft | None]]:
    """Think (unless the thought is given) and draw, in one call to the model."""
    if thought is not None and run.asks.done(thought):
        return thought, None
    began, thinking = run.clock(), None
    if thought is None:
        thinking = run.step("think", frame, before=before)
        yield thinking
    words, drawing, image, stats = thought or "", None, None, {}
    early: list[Event] = []  # latents of a given thought, which come before the drawing that they belong to
    events = run.ask(run.asks.next_step(before, thought), "image", run.options(frame, 0))
    for event in events:
        if drawing is None and _draws(event):
            if thinking is not None:
                yield StepDone(thinking.index, run.clock() - began, Text(words))
                began, thinking = run.clock(), None
            drawing = run.step("draw", frame, before=before)
            yield drawing
            yield from early
        if drawing is not None or thought is None:
            yield event
        elif not isinstance(event, (TextDelta, PartDone)):
            early.append(event)
        if isinstance(event, PartDone):
            if isinstance(event.part, Image):
                image, stats = run.fitted(event.part), dict(event.stats)
            elif thinking is not None:
                words = event.part.text
                yield StepDone(thinking.index, run.clock() - began, event.part, (), dict(event.stats))
                began, thinking = run.clock(), None
                if not run.asks.taught and run.asks.done(words):  # a model that was not taught to end there draws on
                    events.close()
                    break
    if thinking is not None:
        yield StepDone(thinking.index, run.clock() - began, Text(words))
    if image is None or drawing is None:
        return words, None
    yield StepDone(drawing.index, run.clock() - began, image, run.changed(before, image), stats)
    return words, Draft(drawing.index, image)


def _draws(event: ModelEvent) -> bool:
    return isinstance(event, ImagePreview) or (isinstance(event, PartDone) and isinstance(event.part, Image))


def _critique(run: Run, frame: int, before: Image, draft: Draft, known: Verdicts) -> Generator[Event, None, Draft]:
    """Both verdicts on a picture, whoever steers; pixels that were judged before in this frame keep their verdicts."""
    began, started = run.clock(), run.step("critique", frame, draft.round, before, draft.step)
    yield started
    verdicts: list[Critiqued] = []
    for index, critic in enumerate(run.critics.values()):
        seen = known.get(draft.image)
        verdicts.append(seen[index] if seen else critic(run.problem, before, draft.image))
        yield verdicts[-1]
        run.poll()
    yield StepDone(started.index, run.clock() - began)
    known[draft.image] = tuple(verdicts)
    return judged(run, draft, tuple(verdicts))


def judged(run: Run, draft: Draft, verdicts: tuple[Critiqued, ...]) -> Draft:
    """The draft with the verdicts that decide: those of who steers, or a visitor's, which stands above all."""
    visitor = tuple(verdict for verdict in verdicts if verdict.by == "visitor")
    proofs = tuple(verdict for verdict in verdicts if verdict.by == "program")
    opinions = tuple(verdict for verdict in verdicts if verdict.by != "program")
    steering = visitor or {"program": proofs, "model": opinions, "both": verdicts}[run.settings.steer] or verdicts
    worth = sum(verdict.confidence if verdict.ok else -verdict.confidence for verdict in steering)
    return replace(draft, verdicts=steering, ok=all(verdict.ok for verdict in steering), worth=worth)


def _improve(
    run: Run, frame: int, before: Image, best: Draft, round: int, known: Verdicts,
) -> Generator[Event, None, tuple[Draft, Reason]]:
    """Redraw until the steering critics are satisfied or a stop rule holds; a redraw replaces the best only if its verdict is better."""
    stale, clashes = 0, _clash(best)
    for redraws in range(run.settings.rounds + 1):
        if best.ok:
            return best, "satisfied"
        if clashes > 1:
            return best, "contradiction"
        if redraws == run.settings.rounds:
            break
        if stale >= run.settings.patience:
            return best, "no gain"
        round += 1
        draft = yield from _revise(run, frame, before, best, round)
        draft = yield from _critique(run, frame, before, draft, known)
        clashes = clashes + 1 if _clash(draft) else 0
        better = (draft.ok, draft.worth) > (best.ok, best.worth)
        best, stale = (draft, 0) if better else (best, stale + 1)
    return best, "rounds used up"


def _clash(draft: Draft) -> int:
    return int(len({verdict.ok for verdict in draft.verdicts}) > 1)


def _revise(run: Run, frame: int, before: Image, wrong: Draft, round: int) -> Generator[Event, None, Draft]:
    """Redraw the best picture so far, told what is wrong with it."""
    objections = sorted((verdict for verdict in wrong.verdicts if not verdict.ok), key=lambda verdict: -verdict.confidence)
    began, started = run.clock(), run.step("revise", frame, round, before, wrong.step)
    yield started
    image, stats = wrong.image, {}
    options = run.options(frame, round)
    options = options if run.asks.taught else replace(options, think=False)  # the request says all; no further thought
    for event in run.ask(run.asks.revise(before, wrong.image, objections[0].words), "image", options):
        if isinstance(event, PartDone) and isinstance(event.part, Image):
            image, stats = run.fitted(event.part), dict(event.stats)
        yield event
    yield StepDone(started.index, run.clock() - began, image, run.changed(before, image), stats)
    return Draft(started.index, image, round)


def answer(run: Run, frame: int) -> Generator[Event, None, Finished]:
    """Ask for the answer, score the whole run from the problem alone, and say why it ends."""
    began, started = run.clock(), run.step("answer", frame, before=run.picture)
    yield started
    words, stats = "", {}
    for event in run.ask(run.asks.answer(run.moves), "text", run.options(frame, 0)):
        if isinstance(event, PartDone) and isinstance(event.part, Text):
            words, stats = event.part.text, dict(event.stats)
        yield event
    yield StepDone(started.index, run.clock() - began, Text(words), (), stats)
    moves = tuple(run.asks.parse_moves(words))
    yield Answered(words, moves, run.task.score(run.problem, run.frames, moves).to_dict())
    if run.doubt:
        return Finished(run.doubt[1], _doubt_words(*run.doubt))
    return Finished("satisfied", "The model says that nothing is left to draw.")


def _doubt_words(frame: int, reason: Reason) -> str:
    if reason == "contradiction":
        return f"The critics contradict each other about picture {frame}."
    return f"No redraw of picture {frame} satisfied the critic ({reason})."
