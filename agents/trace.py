"""The record of a run: its events folded. History, next prompt and recording in one, saved as one file.

A trace is immutable; ``add`` makes the next one and shares everything that did not change. Its steps form a tree:
a step's parent is the step before it in its run, and a branch adds further children to an older step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from agents import events as ev
from agents.events import Cell, Critiqued, Event, Kind, Reason
from unimm.document import Image, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, LatentStep, PartDone, TextDelta

VERSION = 1


@dataclass(frozen=True)
class Step:
    """One step. While it runs (``done`` False) ``thought`` and ``image`` hold what there is so far.

    ``thought``: the words of a think or answer step. ``image``/``before``: of draw and revise steps; a critique has in
    ``of`` the picture step it looks at, a revision the one it repairs. ``keeps``: the picture step that was settled
    on at this step, for the reason ``stop``. Every other field is explained at ``StepStarted`` and ``StepDone``.
    """

    id: int
    kind: Kind
    frame: int
    round: int = 0
    parent: int | None = None
    of: int | None = None
    about: str = ""
    edited: bool = False
    thought: str = ""
    image: Image | None = None
    before: Image | None = None
    critiques: tuple[Critiqued, ...] = ()
    latents: tuple[LatentStep, ...] = ()
    keeps: int | None = None
    stop: Reason | None = None
    changed: tuple[Cell, ...] = ()
    seconds: float = 0.0
    stats: dict[str, float] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True)
class Round:
    """A draw and its critique, put together for a reader: what a timeline shows as one entry.

    ``think`` is the thought that the frame's drawing followed, ``critique`` the step that judged this picture (None:
    not judged), ``kept`` why this picture was kept for its frame (None: another one was, or none yet).
    """

    picture: Step
    think: Step | None
    critique: Step | None
    kept: Reason | None

    @property
    def frame(self) -> int:
        return self.picture.frame

    @property
    def number(self) -> int:
        return self.picture.round

    @property
    def thought(self) -> str:
        return self.think.thought if self.think else ""

    @property
    def latents(self) -> tuple[LatentStep, ...]:
        return self.think.latents if self.think else ()

    @property
    def image(self) -> Image | None:
        return self.picture.image

    @property
    def before(self) -> Image | None:
        return self.picture.before

    @property
    def changed(self) -> tuple[Cell, ...]:
        return self.picture.changed

    @property
    def critiques(self) -> tuple[Critiqued, ...]:
        return self.critique.critiques if self.critique else ()

    @property
    def accepted(self) -> bool:
        return self.kept is not None

    @property
    def seconds(self) -> float:
        thinking = self.think.seconds if self.think and self.picture.kind == "draw" else 0.0
        return thinking + self.picture.seconds + (self.critique.seconds if self.critique else 0.0)

    def verdict(self, by: str) -> Critiqued | None:
        """The verdict of one critic ("model", "program" ...)."""
        return next((critique for critique in self.critiques if critique.by == by), None)


@dataclass(frozen=True)
class Trace:
    """A run so far. ``answer``, ``moves``, ``score``, ``reason`` are those of the latest run in it ("" / None: not yet)."""

    task: str
    problem: dict[str, Any]
    model: str
    settings: dict[str, Any]
    start: Image
    total: int = 0
    steps: tuple[Step, ...] = ()
    answer: str = ""
    moves: tuple[str, ...] = ()
    score: dict[str, Any] | None = None
    reason: Reason | None = None
    words: str = ""
    seconds: float = 0.0
    version: int = VERSION

    # ---- folding

    def add(self, event: Event) -> Trace:
        """The trace after one more event."""
        match event:
            case ev.RunStarted():
                return begin(event)
            case ev.StepStarted():
                step = Step(event.index, event.kind, event.frame, event.round, event.parent, event.of, event.about, event.edited,
                            before=event.before)
                return replace(self, steps=(*self.steps, step))
            case ev.StepDone(seconds=seconds, part=part, changed=changed, stats=stats):
                return self._edit(event.index, **_content(part), seconds=seconds, changed=changed, stats=dict(stats), done=True)
            case ev.Kept():
                return self._edit(event.index, keeps=event.step, stop=event.reason)
            case ev.Answered():
                return replace(self, answer=event.text, moves=event.moves, score=event.score)
            case ev.Finished():
                return replace(self, reason=event.reason, words=event.words, seconds=event.seconds)
        if not self.steps:
            return self
        last = self.steps[-1]
        match event:
            case Critiqued():
                return self._edit(last.id, critiques=(*last.critiques, event))
            case TextDelta(text=text):
                return self._edit(last.id, thought=last.thought + text)
            case LatentStep():
                return self._edit(last.id, latents=(*last.latents, event))
            case ImagePreview(image=image):
                return self._edit(last.id, image=image)
            case PartDone(part=part):
                return self._edit(last.id, **_content(part))
        return self

    def _edit(self, index: int, **fields: Any) -> Trace:
        steps = list(self.steps)
        steps[index] = replace(steps[index], **fields)
        return replace(self, steps=tuple(steps))

    # ---- reading

    @property
    def finished(self) -> bool:
        return self.reason is not None

    def step(self, index: int) -> Step:
        """One step; raises ``BadInput`` where there is none of that number."""
        if not 0 <= index < len(self.steps):
            raise BadInput(f"This trace has the steps 0 to {len(self.steps) - 1}, not {index}.")
        return self.steps[index]

    def path(self, leaf: int | None = None) -> tuple[Step, ...]:
        """The steps of one run in order: from the first to ``leaf`` (default: the latest step)."""
        if not self.steps:
            return ()
        step: Step | None = self.step(len(self.steps) - 1 if leaf is None else leaf)
        found: list[Step] = []
        while step is not None:
            found.append(step)
            step = None if step.parent is None else self.steps[step.parent]
        return tuple(reversed(found))

    @property
    def leaves(self) -> tuple[int, ...]:
        """The last step of every run in the tree; more than one where the trace was branched."""
        parents = {step.parent for step in self.steps}
        return tuple(step.id for step in self.steps if step.id not in parents)

    def rounds(self, leaf: int | None = None) -> tuple[Round, ...]:
        """All pictures drawn on one run, redraws included, each with its thought and its verdicts."""
        path = self.path(leaf)
        kept: dict[int, tuple[int, Reason]] = {}
        think: dict[int, Step] = {}
        judged: dict[int, Step] = {}
        for step in path:
            if step.keeps is not None and step.stop is not None:
                kept[step.frame] = (step.keeps, step.stop)
            if step.kind == "think":
                think[step.frame] = step
            if step.kind == "critique" and step.of is not None:
                judged[step.of] = step
        found = []
        for step in path:
            if step.kind in ("draw", "revise"):
                index, reason = kept.get(step.frame, (None, None))
                found.append(Round(step, think.get(step.frame), judged.get(step.id), reason if index == step.id else None))
        return tuple(found)

    def pictures(self, leaf: int | None = None) -> tuple[Image, ...]:
        """The solution's pictures: the kept one of every frame, in order, without the start."""
        return tuple(item.image for item in self.rounds(leaf) if item.accepted and item.image is not None)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything but the times: equal for two runs that did the same."""
        steps = tuple(replace(step, seconds=0.0, stats={k: v for k, v in step.stats.items() if k != "seconds"}) for step in self.steps)
        data = json.dumps(replace(self, seconds=0.0, steps=steps).to_dict(), sort_keys=True)
        return hashlib.sha256(data.encode()).hexdigest()

    # ---- as data

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; every distinct picture once, as base64 PNG, in ``pictures``."""
        from agents.trace_file import to_dict

        return to_dict(self)

    @classmethod
    def from_dict(cls, data: Any) -> Trace:
        """Exact inverse of ``to_dict``; raises ``BadInput`` on damage, wrong types or sizes out of bounds."""
        from agents.trace_file import from_dict

        return from_dict(data)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Trace:
        """Inverse of ``to_json``; raises ``BadInput``."""
        from agents.trace_file import from_json

        return from_json(text)

    def save(self, path: str | Path) -> None:
        """Write the trace as one JSON file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a saved trace; raises ``BadInput`` where the file is no undamaged trace."""
        from agents.trace_file import read_file

        return cls.from_json(read_file(path))


def begin(event: ev.RunStarted) -> Trace:
    """The trace of a run that has just started."""
    return Trace(event.task, event.problem, event.model, event.settings, event.start, event.total, event.steps)


def fold(events: Iterable[Event]) -> Trace:
    """The trace that a list of events amounts to; raises ``BadInput`` where it does not begin with ``RunStarted``."""
    trace: Trace | None = None
    for event in events:
        if trace is None:
            if not isinstance(event, ev.RunStarted):
                raise BadInput("A run's events begin with RunStarted; take them from the first one on.")
            trace = begin(event)
        else:
            trace = trace.add(event)
    if trace is None:
        raise BadInput("There are no events yet.")
    return trace


def _content(part: Any) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"thought": part.text}
    return {"image": part} if isinstance(part, Image) else {}


@dataclass(frozen=True)
class Branch:
    """Where and how to go on from a finished or stopped run: give it to the agent in place of a problem."""

    trace: Trace
    step: int
    thought: str | None = None
    picture: Image | None = None
    fault: str | None = None
    seed: int | None = None


def branch(
    trace: Trace, step_id: int, thought: str | None = None, picture: Image | None = None, fault: str | None = None,
    seed: int | None = None,
) -> Branch:
    """Go on from step ``step_id``, with at most one thing changed.

    ``thought`` replaces a think step's words, ``picture`` a draw or revise step's picture, ``fault`` a critique's verdict
    (words such as "wrong . dead end missed at c4 ."), and ``seed`` does the step over with another seed. With nothing
    changed the run goes on after the step. Raises ``BadInput`` where the change does not fit the step.
    """
    step = trace.step(step_id)
    given = [name for name, value in (("thought", thought), ("picture", picture), ("fault", fault)) if value is not None]
    if len(given) > 1:
        raise BadInput(f"Change one thing at a branch, not {' and '.join(given)}.")
    fits = {"thought": ("think",), "picture": ("draw", "revise"), "fault": ("critique",)}
    if given and step.kind not in fits[given[0]]:
        raise BadInput(f"A {step.kind} step has no {given[0]} to change. Choose a {' or '.join(fits[given[0]])} step.")
    if step.kind == "answer" and seed is None:
        raise BadInput("Nothing comes after the answer. Choose an earlier step, or give another seed.")
    if picture is not None and (picture.width, picture.height) != (trace.start.width, trace.start.height):
        raise BadInput(f"The picture must be {trace.start.width}x{trace.start.height} like the others of this run.")
    return Branch(trace, step_id, thought, picture, fault, seed)
