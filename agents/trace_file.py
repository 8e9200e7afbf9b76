"""A trace as plain data and as a file, and the checks on what comes back: a trace file may come from anybody."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.events import KINDS, REASONS, Critiqued
from agents.trace import VERSION, Step, Trace
from unimm.document import Image
from unimm.errors import BadInput
from unimm.events import LatentStep

MAX_BYTES = 64 * 2**20
MAX_STEPS = 4000
MAX_SIDE = 2048
MAX_PIXELS = 96 * 2**20
MAX_TEXT = 20_000
MAX_PROBLEM = 4 * 2**20


def to_dict(trace: Trace) -> dict[str, Any]:
    """Plain data; pictures are numbered and stored once each."""
    numbers: dict[Image, int] = {}

    def number(image: Image | None) -> int | None:
        return None if image is None else numbers.setdefault(image, len(numbers))

    start = number(trace.start)
    steps = [_step_to_dict(step, number) for step in trace.steps]
    return {
        "version": trace.version, "task": trace.task, "problem": trace.problem, "model": trace.model, "settings": trace.settings,
        "start": start, "total": trace.total, "steps": steps, "answer": trace.answer, "moves": list(trace.moves), "score": trace.score,
        "reason": trace.reason, "words": trace.words, "seconds": trace.seconds,
        "pictures": [base64.b64encode(image.to_png()).decode() for image in numbers],
    }


def _step_to_dict(step: Step, number: Callable[[Image | None], int | None]) -> dict[str, Any]:
    return {
        "id": step.id, "kind": step.kind, "frame": step.frame, "round": step.round, "parent": step.parent, "of": step.of,
        "about": step.about, "edited": step.edited, "thought": step.thought, "image": number(step.image), "before": number(step.before),
        "critiques": [
            {"by": c.by, "ok": c.ok, "fault": c.fault, "where": c.where and list(c.where), "confidence": c.confidence, "words": c.words,
             "told": c.told, "doubts": list(c.doubts)}
            for c in step.critiques
        ],
        "latents": [
            {"index": x.index, "token": x.token, "words": [list(pair) for pair in x.words], "norm": x.norm, "heat": list(x.heat),
             "grid": list(x.grid)}
            for x in step.latents
        ],
        "keeps": step.keeps, "stop": step.stop, "changed": [list(cell) for cell in step.changed], "seconds": step.seconds,
        "stats": dict(step.stats), "done": step.done,
    }


def read_file(path: str | Path) -> bytes:
    """The bytes of a trace file; raises ``BadInput`` where it is missing or too large."""
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise BadInput(f"This file has {size // 2**20} MB; a trace has at most {MAX_BYTES // 2**20}.")
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput("This trace file cannot be read. Check that it exists and is a file.") from error


def from_json(text: str | bytes) -> Trace:
    """Parse and check; raises ``BadInput``."""
    if len(text) > MAX_BYTES:
        raise BadInput(f"This trace is too large; at most {MAX_BYTES // 2**20} MB.")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput("This is not a trace file: it is not readable JSON. Download the trace again.") from error
    return from_dict(data)


def from_dict(data: Any) -> Trace:
    """Inverse of ``to_dict``; every type, number and reference is checked."""
    data = _kind(data, dict, "the file")
    if data.get("version") != VERSION:
        raise _damaged(f"its version is {str(data.get('version'))[:20]!r}, this program reads version {VERSION}")
    pictures = _pictures(_take(data, "pictures", list))
    rows = _take(data, "steps", list)
    if len(rows) > MAX_STEPS:
        raise _damaged(f"it has {len(rows)} steps, more than {MAX_STEPS}")

    def picture(row: dict[str, Any], key: str) -> Image | None:
        index = _optional(row, key, int)
        if index is not None and not 0 <= index < len(pictures):
            raise _damaged(f"{key} names a picture that is not there")
        return None if index is None else pictures[index]

    start = picture(data, "start")
    if start is None:
        raise _damaged("start is missing")
    return Trace(
        task=_text(data, "task"), problem=_jsonable(data, "problem", MAX_PROBLEM), model=_text(data, "model"),
        settings=_jsonable(data, "settings"), start=start, total=_count(data, "total"),
        steps=tuple(_step(_kind(row, dict, "a step"), index, picture) for index, row in enumerate(rows)),
        answer=_text(data, "answer"), moves=tuple(_kind(move, str, "a move") for move in _take(data, "moves", list)),
        score=None if data.get("score") is None else _jsonable(data, "score"), reason=_choice(data, "reason", REASONS),
        words=_text(data, "words"), seconds=_number(data, "seconds"), version=VERSION,
    )


def _step(row: dict[str, Any], index: int, picture: Callable[[dict[str, Any], str], Image | None]) -> Step:
    kind = _choice(row, "kind", KINDS)
    if _take(row, "id", int) != index or kind is None:
        raise _damaged("its steps are not in order")
    return Step(
        id=index, kind=kind, frame=_count(row, "frame"), round=_count(row, "round"), parent=_earlier(row, "parent", index),
        of=_earlier(row, "of", index), about=_text(row, "about"), edited=_take(row, "edited", bool), thought=_text(row, "thought"),
        image=picture(row, "image"), before=picture(row, "before"),
        critiques=tuple(_critique(_kind(item, dict, "a verdict")) for item in _take(row, "critiques", list)),
        latents=tuple(_latent(_kind(item, dict, "a latent")) for item in _take(row, "latents", list)),
        keeps=_earlier(row, "keeps", index + 1), stop=_choice(row, "stop", REASONS),
        changed=tuple(_cell(cell) for cell in _take(row, "changed", list)), seconds=_number(row, "seconds"),
        stats={_kind(key, str, "stats"): _finite(value, key) for key, value in _take(row, "stats", dict).items()},
        done=_take(row, "done", bool),
    )


def _critique(row: dict[str, Any]) -> Critiqued:
    where = row.get("where")
    fault = None if row.get("fault") is None else _text(row, "fault")
    doubts = tuple(_finite(value, "doubts") for value in _optional(row, "doubts", list) or ())
    if len(doubts) != math.isqrt(len(doubts)) ** 2:
        raise _damaged("doubts fit no square grid")
    return Critiqued(_text(row, "by"), _take(row, "ok", bool), fault, None if where is None else _cell(where),
                     _number(row, "confidence"), _text(row, "words"), _optional(row, "told", str) or "", doubts)


def _latent(row: dict[str, Any]) -> LatentStep:
    words = []
    for pair in _take(row, "words", list):
        if not (isinstance(pair, list) and len(pair) == 2):
            raise _damaged("a latent's words are not pairs")
        words.append((_kind(pair[0], str, "a word"), _finite(pair[1], "a word's probability")))
    heat = tuple(_finite(value, "heat") for value in _take(row, "heat", list))
    grid = _cell(_take(row, "grid", list))
    if heat and len(heat) != grid[0] * grid[1]:
        raise _damaged("a latent's heat does not fit its grid")
    return LatentStep(_count(row, "index"), _text(row, "token"), tuple(words), _number(row, "norm"), heat, grid)


def _pictures(rows: list[Any]) -> list[Image]:
    found, pixels = [], 0
    for row in rows:
        try:
            png = base64.b64decode(_kind(row, str, "a picture"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _damaged("a picture is not base64") from error
        # The size stands in the header: a small file must not unfold to a huge picture.
        width, height = struct.unpack(">II", png[16:24]) if len(png) > 24 else (0, 0)
        pixels += width * height
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and pixels <= MAX_PIXELS):
            raise _damaged("a picture is damaged or too large")
        found.append(Image.from_png(png))
    return found


# ---- small checks: each returns the value in its type or raises BadInput


def _damaged(what: str) -> BadInput:
    return BadInput(f"This trace file is damaged: {what}. Download the trace again.")


def _kind(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _damaged(f"{name} is not a {kind.__name__}")
    if isinstance(value, str) and len(value) > MAX_TEXT and name != "a picture":
        raise _damaged(f"{name} is too long")
    return value


def _take(row: dict[str, Any], key: str, kind: type) -> Any:
    if key not in row:
        raise _damaged(f"{key} is missing")
    return _kind(row[key], kind, key)


def _optional(row: dict[str, Any], key: str, kind: type) -> Any:
    return None if row.get(key) is None else _take(row, key, kind)


def _text(row: dict[str, Any], key: str) -> str:
    return _take(row, key, str)


def _count(row: dict[str, Any], key: str) -> int:
    value = _take(row, key, int)
    if not 0 <= value <= 10**6:
        raise _damaged(f"{key} is out of bounds")
    return value


def _earlier(row: dict[str, Any], key: str, below: int) -> int | None:
    value = _optional(row, key, int)
    if value is not None and not 0 <= value < below:
        raise _damaged(f"{key} names a step that does not come before")
    return value


def _finite(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _damaged(f"{str(name)[:40]} is not a number")
    return value


def _number(row: dict[str, Any], key: str) -> float:
    return _finite(row.get(key), key)


def _choice(row: dict[str, Any], key: str, allowed: tuple[Any, ...]) -> Any:
    value = row.get(key)
    if value is not None and value not in allowed:
        raise _damaged(f"{key} is none of the known ones")
    return value


def _cell(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2):
        raise _damaged("a cell is not a row and a column")
    row, column = (_kind(item, int, "a cell") for item in value)
    if not (0 <= row <= 4096 and 0 <= column <= 4096):
        raise _damaged("a cell is out of bounds")
    return row, column


def _jsonable(row: dict[str, Any], key: str, limit: int = 10 * MAX_TEXT) -> dict[str, Any]:
    value = _take(row, key, dict)
    try:
        if len(json.dumps(value, allow_nan=False)) > limit:
            raise _damaged(f"{key} is too long")
    except (ValueError, RecursionError) as error:
        raise _damaged(f"{key} is no plain data") from error
    return value
