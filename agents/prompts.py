"""The documents that the agent gives a model: one function a question, the same wording as in training."""

from __future__ import annotations

from collections.abc import Sequence

from agents.tasks import Task
from unimm.document import Document, Image, Text


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
