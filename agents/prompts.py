"""The documents that the agent gives a model, one function a question, and how it reads the replies.

The functions here speak the words of the lessons. A model that was not taught these gets plain language
(``agents.plain``); ``wording`` chooses by what the model's capabilities say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.plain import Plain
from agents.tasks import Task
from unimm.document import Document, Image, Text
from unimm.model import Capabilities


def next_step(task: Task, current: Image, thought: str | None = None) -> Document:
    """Think and draw the next picture; with ``thought`` given, draw it from those words."""
    asked = Document().user(current, Text(task.instructions["next"]))
    return asked if thought is None else asked.assistant(Text(thought))


def judge(task: Task, before: Image, after: Image) -> Document:
    """Is ``after`` a right next picture of ``before``?"""
    return Document().user(before, after, Text(task.instructions["judge"]))


def revise(task: Task, before: Image, wrong: Image, verdict: str) -> Document:
    """Redraw ``wrong`` into the right next picture of ``before``; ``verdict`` names the fault in words."""
    return judge(task, before, wrong).assistant(Text(verdict))


def answer(task: Task, moves: Sequence[str]) -> Document:
    """Say the answer after all pictures are drawn, from the moves that the thoughts decided on."""
    return Document().user(Text(task.walked_words(moves)))


def direct(task: Task, picture: Image) -> Document:
    """Say the answer at one glance, without drawing."""
    return Document().user(picture, Text(task.instructions["route"]))


def describe(task: Task, picture: Image) -> Document:
    """Say what is in the picture."""
    return Document().user(picture, Text(task.instructions["describe"]))


@dataclass(frozen=True)
class Taught:
    """The words of the lessons for one task."""

    task: Task

    taught = True

    def next_step(self, current: Image, thought: str | None = None) -> Document:
        return next_step(self.task, current, thought)

    def judge(self, before: Image, after: Image) -> Document:
        return judge(self.task, before, after)

    def revise(self, before: Image, wrong: Image, verdict: str) -> Document:
        return revise(self.task, before, wrong, verdict)

    def answer(self, moves: Sequence[str]) -> Document:
        return answer(self.task, moves)

    def direct(self, picture: Image) -> Document:
        return direct(self.task, picture)

    def done(self, thought: str) -> bool:
        return self.task.done(thought)

    def parse_move(self, thought: str) -> str | None:
        return self.task.parse_move(thought)

    def parse_moves(self, text: str) -> list[str]:
        return self.task.parse_moves(text)

    def parse_verdict(self, text: str) -> tuple[bool, str | None, tuple[int, int] | None]:
        return self.task.parse_verdict(text)


Wording = Taught | Plain


def wording(task: Task, can: Capabilities) -> Wording:
    """The words in which a model is asked about a task."""
    return Taught(task) if task.name in can.taught else Plain(task, can)
