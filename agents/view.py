"""A trace as a page shows it: plain data, pictures as data URLs, places by name, in pieces that can be sent as they come."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from agents import looks, own_picture
from agents.events import Critiqued
from agents.tasks import TASKS, Task, on_grid
from agents.tasks.foreign import Fit
from agents.tasks.maze_words import cell_name
from agents.trace import Step, Trace
from unimm.document import Image
from unimm.events import LatentStep

WORDS = 5


def patch(trace: Trace, old: Trace | None = None, since: int = 0, sent: set[str] | None = None) -> dict[str, Any]:
    """What a page that knows ``old`` needs to show ``trace``: the run's facts, new and changed steps, pictures not sent before.

    A page that knows nothing but the first ``since`` finished steps (it lost its connection) gives no ``old``. The step
    before those is sent again, since a picture is settled only after its critique. ``sent`` collects the names of the
    pictures that went out; the one named "own" is the picture that the visitor brought.
    """
    problem = looks.problem_of(trace)
    known = old.steps if old else trace.steps[: max(since - 1, 0)]
    steps = [step for step in trace.steps if step.id >= len(known) or step is not known[step.id]]
    wanted = [trace.start, *(image for step in steps for image in (step.image, step.before) if image is not None)]
    return {
        "head": head(trace, problem),
        # By number, not a list: Gradio sends what differs from the piece before, and its client breaks on lists in lists that shrink.
        "steps": {str(step.id): step_view(step, problem) for step in steps},
        "pictures": _pictures(wanted, problem, set() if sent is None else sent, own_picture.fit_of(trace)),
    }


def head(trace: Trace, problem: Any) -> dict[str, Any]:
    """The facts of the whole run; ``route`` is the cells that the answer's moves visit, ``points`` whether places are corners."""
    look = looks.of(trace.task)
    plain = {key: value for key, value in trace.problem.items() if key != "picture"}
    return {
        "task": trace.task, "size": look.size(problem), "points": look.points, "problem": plain,
        "asked": TASKS[trace.task].request(problem), "model": trace.model, "settings": trace.settings,
        "start": trace.start.hash[:16], "total": trace.total, "answer": trace.answer, "moves": list(trace.moves),
        "score": trace.score, "reason": trace.reason, "words": trace.words, "seconds": round(trace.seconds, 2),
        "leaves": list(trace.leaves), "route": look.route(problem, trace.moves),
    }  # fmt: skip


def step_view(step: Step, problem: Any) -> dict[str, Any]:
    """One step with its places by name and its pictures by key."""
    task = TASKS[problem.task]
    name, fine = task.place_name, max(task.grid(problem)[1] // looks.of(problem.task).size(problem), 1)
    return {
        "id": step.id, "parent": step.parent, "kind": step.kind, "frame": step.frame, "round": step.round, "of": step.of,
        "about": step.about, "edited": step.edited, "thought": step.thought, "done": step.done, "seconds": round(step.seconds, 3),
        "image": step.image and step.image.hash[:16], "before": step.before and step.before.hash[:16],
        "keeps": step.keeps, "stop": step.stop,
        "changed": [cell_name(cell) for cell in dict.fromkeys((row // fine, column // fine) for row, column in step.changed)],
        "critiques": [
            {"by": c.by, "ok": c.ok, "fault": c.fault, "where": c.where and name(c.where), "confidence": c.confidence, "words": c.words,
             "overruled": _overruled(task, c), "doubts": _shown(c.doubts, math.isqrt(len(c.doubts)), problem)}
            for c in step.critiques
        ],
        "latents": [_latent(latent, problem) for latent in step.latents],
        "stats": {key: round(value, 4) for key, value in step.stats.items() if isinstance(value, int | float)},
    }  # fmt: skip


def size_of(trace: Trace) -> int:
    """Squares of the run's grid along a side; raises ``BadInput`` where the trace's problem is none that can be shown."""
    return looks.of(trace.task).size(looks.problem_of(trace))


def _latent(latent: LatentStep, problem: Any) -> dict[str, Any]:
    words = [[word, round(share, 3)] for word, share in latent.words[:WORDS]]
    rows, cols = latent.grid
    shown = _shown(latent.heat, cols, problem) if rows == cols else {"heat": list(latent.heat), "grid": [rows, cols]}
    return {"token": latent.token, "words": words, "norm": round(latent.norm, 2), **shown}


def _shown(values: Sequence[float], side: int, problem: Any) -> dict[str, Any]:
    """Values of a square grid's cells, without those of the margin that is not shown where it is one a square of the canvas."""
    if kept := on_grid(TASKS[problem.task], problem, values):
        values, side = kept, math.isqrt(len(kept))
    return {"heat": [round(value, 4) for value in values], "grid": [side, side]}


def _overruled(task: Task, verdict: Critiqued) -> str:
    """Why what the model concludes is not the verdict that counts: its own "reading", its "doubts", or "" where it counts."""
    if not verdict.told:
        return ""
    return "doubts" if task.objection(verdict.words, (), ()) == verdict.words else "reading"


def _pictures(images: list[Image], problem: Any, sent: set[str], fit: Fit | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if fit is not None and "own" not in sent:
        sent.add("own")
        found["own"] = own_picture.place(fit)
    for image in images:
        key = image.hash[:16]
        if key not in sent:
            sent.add(key)
            shown = picture_view(image, problem.task, looks.of(problem.task).size(problem), looks.window(problem, image))
            found[key] = shown | ({"own": own_picture.overlay(fit, image)} if fit else {})
    return found


@lru_cache(maxsize=1024)
def picture_view(image: Image, task: str, size: int, window: looks.Box) -> dict[str, Any]:
    """One picture without its margin, and what the program reads in it: for an alternative text."""
    return {"src": data_url(image, window), **looks.of(task).facts(image, size)}


def data_url(image: Image, window: looks.Box) -> str:
    """A part of a picture as the source of an ``img``."""
    picture = image.to_pil().crop(window)
    buffer = io.BytesIO()
    picture.quantize(256).save(buffer, "PNG") if picture.getcolors(256) else picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
