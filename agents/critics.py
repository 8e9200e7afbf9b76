"""Who judges a picture: the model itself, the program that reads the pixels, or any LangChain chat model."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.messages.content import create_image_block, create_text_block

from agents import prompts
from agents.events import Critiqued
from agents.tasks import Task
from unimm.document import Image, Text
from unimm.events import PartDone
from unimm.model import Options, UnifiedModel

Critic = Callable[[Any, Image, Image], Critiqued]
"""(problem, picture before, picture after) -> verdict."""


def model_critic(model: UnifiedModel, task: Task, options: Options = Options(), poll: Callable[[], None] = lambda: None) -> Critic:
    """The model's own understanding judges its picture.

    The confidence is the model's probability of the verdict's first word. ``poll`` is called between the model's events
    and may raise to stop a judgement that is under way.
    """

    def critic(problem: Any, before: Image, after: Image) -> Critiqued:
        words, confidence = "", 1.0
        with closing(model.stream(prompts.judge(task, before, after), "text", options)) as events:
            for event in events:
                poll()
                if isinstance(event, PartDone) and isinstance(event.part, Text):
                    words += event.part.text
                    confidence = min(max(float(event.stats.get("confidence", 1.0)), 0.0), 1.0)
        return _from_words("model", task, words, confidence)

    return critic


def program_critic(task: Task) -> Critic:
    """The exact check: reads both pictures and knows the rules, but never the solution."""

    def critic(problem: Any, before: Image, after: Image) -> Critiqued:
        check = task.check(problem, before, after)
        return Critiqued("program", check.ok, check.fault, check.where, 1.0, check.words)

    return critic


def chat_critic(chat: BaseChatModel, task: Task, by: str = "chat", question: str | None = None) -> Critic:
    """Any LangChain chat model that takes pictures judges.

    ``question`` is asked after the two pictures; by default it spells out the task's faults and the form of a verdict.
    A reply that is no verdict counts as "wrong" with confidence 0.
    """
    asked = question or chat_question(task)

    def critic(problem: Any, before: Image, after: Image) -> Critiqued:
        blocks = [_block(before), _block(after), create_text_block(asked)]
        reply = chat.invoke([HumanMessage(content_blocks=blocks)]).text
        verdict = _from_words(by, task, reply, 1.0)
        return verdict if verdict.ok or verdict.fault else replace(verdict, confidence=0.0)

    return critic


def chat_question(task: Task) -> str:
    """The question to a chat model that was not trained on our words."""
    return (
        f"These two pictures are one step of a {task.name} task: before and after. {task.rules} "
        "Is the second picture exactly right? Reply with one line and nothing else, either `correct .` or `wrong . FAULT at CELL .`, "
        "where CELL is a column letter from the left and a row number from the top (a1 is the top left cell of the board), and "
        f"FAULT is one of: {', '.join(task.faults.values())}."
    )


def _block(image: Image) -> Any:
    return create_image_block(base64=base64.b64encode(image.to_png()).decode(), mime_type="image/png")


def _from_words(by: str, task: Task, words: str, confidence: float) -> Critiqued:
    ok, fault, where = task.parse_verdict(words)
    return Critiqued(by, ok, fault, where, confidence, words.strip())
