"""What the agent says while it works. The model's own events (``unimm.events``) pass through in between.

A run is ``RunStarted``, then steps, then ``Finished``; a ``Trace`` is nothing but these events folded, so whoever has
the list of events can show, save and continue the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from unimm.document import Image, Part
from unimm.events import ModelEvent

if TYPE_CHECKING:
    from agents.trace import Step

Kind = Literal["think", "draw", "critique", "revise", "answer"]
KINDS: tuple[Kind, ...] = ("think", "draw", "critique", "revise", "answer")

Reason = Literal[
    "satisfied", "no gain", "rounds used up", "time used up", "stopped", "contradiction", "step limit", "failed",
]
REASONS: tuple[Reason, ...] = (
    "satisfied", "no gain", "rounds used up", "time used up", "stopped", "contradiction", "step limit", "failed",
)

Cell = tuple[int, int]


@dataclass(frozen=True)
class RunStarted:
    """The first event: all that a trace knows before its first step.

    ``start`` is the picture of the problem. ``total`` is about how many pictures it will take (0: unknown).
    ``steps`` are the steps of the trace that this run branches from; new ones are numbered on from there, and the
    run goes on after step ``parent`` (None: from the start).
    """

    task: str
    problem: dict[str, Any]
    model: str
    settings: dict[str, Any]
    start: Image
    total: int = 0
    steps: tuple[Step, ...] = ()
    parent: int | None = None


@dataclass(frozen=True)
class StepStarted:
    """Step ``index`` begins.

    ``frame`` is the picture of the solution that it is for (1 is the first one drawn), ``round`` counts the redraws of
    that picture (0: the first drawing), ``parent`` is the step before it in its run, ``of`` the picture step that a
    critique looks at or a revision repairs. ``about`` tells a reader where the run is ("picture 3 of about 14").
    ``before`` is the picture that this step starts from. ``edited`` marks a step whose content the visitor gave.
    """

    index: int
    kind: Kind
    frame: int
    round: int = 0
    parent: int | None = None
    about: str = ""
    before: Image | None = None
    of: int | None = None
    edited: bool = False


@dataclass(frozen=True)
class Critiqued:
    """One verdict on the picture of the step that the running critique is ``of``.

    ``by`` is "model", "program", "visitor" or the name of a chat model. ``words`` is the verdict as text, also what a
    revision is told unless there is ``told``: the words with another verdict, where more than the words was taken into account.
    ``confidence`` lies in 0..1 (a program's is 1). ``where`` is (row, column), from 0. ``doubts`` are the chances that each cell of the
    picture is wrong, row by row over a square grid; empty where the judge gives none.
    """

    by: str
    ok: bool
    fault: str | None = None
    where: Cell | None = None
    confidence: float = 1.0
    words: str = ""
    told: str = ""
    doubts: tuple[float, ...] = ()

    @property
    def objection(self) -> str:
        """What a redraw is told."""
        return self.told or self.words


@dataclass(frozen=True)
class StepDone:
    """Step ``index`` is complete: its final part, the cells that differ from ``before``, what was measured."""

    index: int
    seconds: float
    part: Part | None = None
    changed: tuple[Cell, ...] = ()
    stats: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """A picture is settled: step ``index`` decided to keep the picture of step ``step``, for ``reason``."""

    index: int
    step: int
    reason: Reason


@dataclass(frozen=True)
class Answered:
    """The answer in the model's words, what it says (moves, or a value), and the program's score of the whole run (None: not scored).

    Where a task has no answer in words, both are empty: the last picture is the answer.
    """

    text: str
    moves: tuple[str, ...]
    score: dict[str, Any] | None = None


@dataclass(frozen=True)
class Finished:
    """The last event. ``reason`` says why the run ended; ``words`` is one sentence for a reader."""

    reason: Reason
    words: str = ""
    seconds: float = 0.0


AgentEvent = RunStarted | StepStarted | Critiqued | StepDone | Kept | Answered | Finished
Event = AgentEvent | ModelEvent


def event_to_dict(event: Event) -> dict[str, Any]:
    """An event as plain JSON data, for an API: its class name under "event", pictures as PNG parts."""
    return {"event": type(event).__name__} | {row.name: _plain(getattr(event, row.name)) for row in fields(event)}


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
