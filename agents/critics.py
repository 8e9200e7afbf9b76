"""Who judges a picture: the model itself, the program that reads the pixels, or any LangChain chat model."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import accumulate
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.messages.content import create_image_block, create_text_block

from agents import prompts
from agents.events import Critiqued
from agents.plain import parse_verdict, verdict_question
from agents.statistics import tempered
from agents.tasks import Task, Verdict, on_grid
from unimm.document import Image, Text
from unimm.events import PartDone, TextDelta
from unimm.model import Options, UnifiedModel, options_type

Critic = Callable[[Any, Image, Image], Critiqued]
"""(problem, picture before, picture after) -> verdict."""
_SAID_RIGHT = re.compile(r"\bcorrect\b", re.IGNORECASE)
_VERDICT = re.compile(r"\b(?:correct|wrong)\b", re.IGNORECASE)


def model_critic(model: UnifiedModel, task: Task, options: Options | None = None, poll: Callable[[], None] = lambda: None) -> Critic:
    """The model's own understanding judges its picture.

    The confidence is the model's probability of the verdict itself ("correct" or "wrong"), of the reply's first word where
    it cannot be told, brought to what it is worth by the model's calibration for the task. Where "correct" is taken for "wrong", by what
    the reply says that it sees, it is that of the least sure word. Of damage that the model sees in the pixels, where it looks there, it is
    how likely the most doubted cell is wrong, and of "correct" at most how likely it is not.
    ``poll`` is called between the model's events and may raise to stop a judgement that is under way. A reply that is no verdict counts as
    "wrong"; in a model that was not taught how to reply, with confidence 0.
    """
    asks, options = prompts.wording(task, model.capabilities), options or options_type(model)()
    heat = heat_of(model, task)

    def critic(problem: Any, before: Image, after: Image) -> Critiqued:
        words, pieces, stats = "", list[str](), dict[str, Any]()
        with closing(model.stream(asks.judge(problem, before, after), "text", options)) as events:
            for event in events:
                poll()
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                if isinstance(event, PartDone) and isinstance(event.part, Text):
                    words, stats = words + event.part.text, dict(event.stats)
        damage = tuple(stats.get("damage") or ())
        doubts = damage or tuple(stats.get("doubts") or ())
        seen, kinds = (on_grid(task, problem, row) for row in (damage, stats.get("damage_kinds") or ()))
        told = task.objection(words, seen, kinds) if asks.taught else words
        critiqued = _from_words("model", asks.parse_verdict(told), words, 1.0)
        if critiqued.confidence:
            chance = _chance_of(task, critiqued, verdict_chance(words, pieces, stats), told != words, seen, stats.get("chances") or ())
            critiqued = replace(critiqued, confidence=tempered(chance, heat))
        return replace(critiqued, told=told if told != words else "", doubts=doubts)

    return critic


def _chance_of(task: Task, verdict: Critiqued, said: float, overruled: bool, damage: Sequence[float], chances: Sequence[float]) -> float:
    """The probability of a verdict, where ``said`` is that of the one that the words end with."""
    most = max(damage, default=0.0)
    if damage and (verdict.fault in task.inspected or (overruled and not (verdict.ok or task.inspected))):
        return most
    if verdict.ok and damage:
        return 1 - most if overruled else min(said, 1 - most)
    return min(chances, default=1.0) if overruled and _SAID_RIGHT.search(verdict.words) else said


def heat_of(model: UnifiedModel, task: Task) -> float:
    """The temperature that the model's confidences are brought to; fitting it anew has to know."""
    return model.capabilities.calibration.get(task.name, 1.0)


def verdict_chance(words: str, pieces: Sequence[str], stats: Mapping[str, Any]) -> float:
    """The probability, 0..1, of the word "correct" or "wrong" in a reply.

    ``pieces`` is the reply as it was written, token by token; "chances" in ``stats`` has the probability of each. Where they
    do not fit together, or there is no such word, it is the probability of the first word ("confidence"), or 1.
    """
    chances, chance = stats.get("chances") or (), stats.get("confidence", 1.0)
    said = _VERDICT.search(words)
    if said is not None and len(pieces) == len(chances):
        ends = accumulate(map(len, pieces))
        chance = next((share for share, end in zip(chances, ends, strict=True) if end > said.start()), chance)
    return min(max(float(chance), 0.0), 1.0)


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

    def critic(problem: Any, before: Image, after: Image) -> Critiqued:
        asked = question or verdict_question(task, problem)
        blocks = [_block(before), _block(after), create_text_block(asked)]
        reply = chat.invoke([HumanMessage(content_blocks=blocks)]).text
        return _from_words(by, parse_verdict(task, reply), reply, 1.0)

    return critic


def _block(image: Image) -> Any:
    return create_image_block(base64=base64.b64encode(image.to_png()).decode(), mime_type="image/png")


def _from_words(by: str, verdict: Verdict | None, words: str, confidence: float) -> Critiqued:
    ok, fault, where = verdict or (False, None, None)
    return Critiqued(by, ok, fault, where, confidence if verdict else 0.0, words.strip())
