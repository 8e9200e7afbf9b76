"""What visitors and API clients send, checked: anything that cannot be meant becomes a ``BadInput`` that says what to send instead."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from agents import uploads
from agents.settings import Settings
from agents.tasks import TASKS, Task
from unimm.document import Image
from unimm.errors import BadInput

SECONDS = 600.0  # a run's budget here: visitors wait for one another
MOST_PROBLEM = 4 * 2**20
"""Longest problem as JSON text; a maze may bring the picture that it was read from."""
SETTINGS = ("steer", "rounds", "temperature", "guidance", "seed", "critique", "thoughts", "best_of")


def whole(value: Any, name: str, low: int, high: int) -> int:
    integral = isinstance(value, float) and value.is_integer() if not isinstance(value, int) else not isinstance(value, bool)
    if not integral or not low <= value <= high:
        raise BadInput(f"{name} must lie between {low} and {high}, not {str(value)[:40]!r}.")
    return int(value)


def text(value: Any, name: str, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise BadInput(f"{name} must be a text of at most {limit} characters.")
    return value


def settings(given: Any) -> Settings:
    """A run's settings from plain data; whole numbers may come as floats."""
    if not isinstance(given, dict) or set(given) - set(SETTINGS):
        raise BadInput(f"settings must be an object with some of these names: {', '.join(SETTINGS)}.")
    if not isinstance(given.get("critique", True), bool):
        raise BadInput("critique must be true or false.")
    plain = {key: int(value) if isinstance(value, float) and key in ("rounds", "seed", "best_of") and value.is_integer() else value
             for key, value in given.items()}  # fmt: skip
    return Settings(**plain, seconds=SECONDS)


def base64_bytes(value: Any, name: str = "picture") -> bytes:
    """The bytes of a base64 text or a data URL."""
    words = text(value, name, uploads.MAX_BYTES * 4 // 3 + 100)
    try:
        return base64.b64decode(words.partition(",")[2] if words.startswith("data:") else words, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput("The picture must be sent as base64 text.") from error


def picture(value: Any) -> Image:
    return uploads.open_picture(base64_bytes(value))


def task(name: Any) -> Task:
    if not isinstance(name, str) or name not in TASKS:
        raise BadInput(f"There is no task {str(name)[:40]!r}. Choose one of: {', '.join(TASKS)}.")
    return TASKS[name]


def problem(data: Any) -> Any:
    """A task's problem from plain data; raises ``BadInput`` with the task's own reason where it cannot be solved as it is."""
    if not isinstance(data, dict) or "task" not in data:
        raise BadInput("A problem is an object with 'task' and what that task needs.")
    try:
        size = len(json.dumps(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput("A problem is an object with 'task' and what that task needs.") from error
    if size > MOST_PROBLEM:
        raise BadInput(f"A problem takes at most {MOST_PROBLEM // 2**20} MB.")
    return task(data["task"]).from_dict({"id": "visitor", **data})
