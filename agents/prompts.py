"""The documents that the agent gives a model, one function a question, and how it reads the replies.

The functions here speak the words of the lessons. A model that was not taught these gets plain language
(``agents.plain``); ``wording`` chooses by what the model's capabilities say. What is asked may depend on the problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.plain import Plain
from agents.tasks import Task, Verdict
from unimm.document import Document, Image, Text
from unimm.model import Capabilities


def next_step(task: Task, problem: Any, current: Image, thought: str | None = None) -> Document:
    """Think and draw the next picture; with ``thought`` given, draw it from those words."""
    asked = Document().user(current, Text(task.asks(problem)["next"]))
    return asked if thought is None else asked.assistant(Text(thought))


def judge(task: Task, problem: Any, before: Image, after: Image) -> Document:
    """Is ``after`` a right next picture of ``before``?"""
    return Document().user(before, after, Text(task.asks(problem)["judge"]))


def revise(task: Task, problem: Any, before: Image, wrong: Image, verdict: str) -> Document:
    """Redraw ``wrong`` into the right next picture of ``before``; ``verdict`` names the fault in words."""
    return judge(task, problem, before, wrong).assistant(Text(verdict))


def answers(task: Task, problem: Any, picture: Image, moves: Sequence[str] = ()) -> tuple[Document, ...]:
    """Say the answer after all pictures are drawn: from the moves that the thoughts decided on, or from the last picture.

    Moves are asked for in legs, as many at once as the task's ``leg`` says; the replies together are the answer. Nothing is asked where the
    task wants no answer in words.
    """
    if task.walked_words is not None:
        legs = [moves[at : at + task.leg] for at in range(0, len(moves), task.leg)] or [moves]
        return tuple(Document().user(Text(task.walked_words(leg))) for leg in legs)
    words = task.asks(problem).get("answer")
    return () if words is None else (Document().user(picture, Text(words)),)


def direct(task: Task, problem: Any, picture: Image) -> Document:
    """Say the answer at one glance, without drawing; where the answer is a picture, draw it at once."""
    return Document().user(picture, Text(task.asks(problem)["direct"]))


def describe(task: Task, problem: Any, picture: Image) -> Document:
    """Say what is in the picture."""
    return Document().user(picture, Text(task.asks(problem)["describe"]))


@dataclass(frozen=True)
class Taught:
    """The words of the lessons for one task."""

    task: Task

    taught = True

    def next_step(self, problem: Any, current: Image, thought: str | None = None) -> Document:
        return next_step(self.task, problem, current, thought)

    def judge(self, problem: Any, before: Image, after: Image) -> Document:
        return judge(self.task, problem, before, after)

    def revise(self, problem: Any, before: Image, wrong: Image, verdict: str) -> Document:
        return revise(self.task, problem, before, wrong, verdict)

    def answers(self, problem: Any, picture: Image, moves: Sequence[str] = ()) -> tuple[Document, ...]:
        return answers(self.task, problem, picture, moves)

    def direct(self, problem: Any, picture: Image) -> Document:
        return direct(self.task, problem, picture)

    def retell(self, problem: Any, words: str, *pictures: Image) -> Document:
        """Pictures and what was thought or said of them as a user's turn: what is drawn after it has read the words anew."""
        return Document().user(*pictures, Text(words))

    def done(self, thought: str) -> bool:
        return self.task.done(thought)

    def parse_move(self, thought: str) -> str | None:
        return self.task.parse_move(thought) if self.task.parse_move is not None else None

    def parse_answer(self, text: str) -> tuple[str, ...]:
        return self.task.parse_answer(text)

    def parse_verdict(self, text: str) -> Verdict:
        return self.task.parse_verdict(text)


Wording = Taught | Plain


def wording(task: Task, can: Capabilities) -> Wording:
    """The words in which a model is asked about a task."""
    return Taught(task) if task.name in can.taught else Plain(task, can)
