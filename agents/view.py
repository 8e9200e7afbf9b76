"""A trace as a page shows it: plain data, pictures as data URLs, cells by name, in pieces that can be sent as they come."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from typing import Any

from agents import own_picture
from agents.tasks import TASKS, Task
from agents.tasks.foreign import Fit
from agents.tasks.maze import AGENT, AGENT_ON_GOAL, GOAL, GREY, MOVES, TRAIL, board_offset, canvas_cells
from agents.trace import Step, Trace
from unimm.document import Image
from unimm.errors import BadInput
from unimm.events import LatentStep

WORDS = 5


def patch(trace: Trace, old: Trace | None = None, since: int = 0, sent: set[str] | None = None) -> dict[str, Any]:
    """What a page that knows ``old`` needs to show ``trace``: the run's facts, new and changed steps, pictures not sent before.

    A page that knows nothing but the first ``since`` finished steps (it lost its connection) gives no ``old``. The step
    before those is sent again, since a picture is settled only after its critique. ``sent`` collects the names of the
    pictures that went out; the one named "own" is the picture that the visitor brought.
    """
    size = size_of(trace)
    known = old.steps if old else trace.steps[: max(since - 1, 0)]
    steps = [step for step in trace.steps if step.id >= len(known) or step is not known[step.id]]
    wanted = [trace.start, *(image for step in steps for image in (step.image, step.before) if image is not None)]
    return {
        "head": head(trace, size),
        # By number, not a list: Gradio sends what differs from the piece before, and its client breaks on lists in lists that shrink.
        "steps": {str(step.id): step_view(step, size) for step in steps},
        "pictures": _pictures(wanted, size, set() if sent is None else sent, own_picture.fit_of(trace)),
    }


def head(trace: Trace, size: int) -> dict[str, Any]:
    """The facts of the whole run; ``route`` is the cells that the answer's moves visit."""
    return {
        "task": trace.task, "size": size, "model": trace.model, "settings": trace.settings, "start": trace.start.hash[:16],
        "total": trace.total, "answer": trace.answer, "moves": list(trace.moves), "score": trace.score, "reason": trace.reason,
        "words": trace.words, "seconds": round(trace.seconds, 2), "leaves": list(trace.leaves), "route": _route(trace, size),
    }


def step_view(step: Step, size: int) -> dict[str, Any]:
    """One step with its cells by name and its pictures by key."""
    name = _task_names()
    return {
        "id": step.id, "parent": step.parent, "kind": step.kind, "frame": step.frame, "round": step.round, "of": step.of,
        "about": step.about, "edited": step.edited, "thought": step.thought, "done": step.done, "seconds": round(step.seconds, 3),
        "image": step.image and step.image.hash[:16], "before": step.before and step.before.hash[:16],
        "keeps": step.keeps, "stop": step.stop, "changed": [name(cell) for cell in step.changed],
        "critiques": [
            {"by": c.by, "ok": c.ok, "fault": c.fault, "where": c.where and name(c.where), "confidence": c.confidence, "words": c.words}
            for c in step.critiques
        ],
        "latents": [_latent(latent, size) for latent in step.latents],
        "stats": {key: round(value, 4) for key, value in step.stats.items()},
    }


def size_of(trace: Trace) -> int:
    """Cells a side of the run's board; raises ``BadInput`` where the trace's problem is none that can be shown."""
    return _problem(trace).board.n


def _problem(trace: Trace) -> Any:
    task: Task | None = TASKS.get(trace.task)
    if task is None:
        raise BadInput(f"This trace is of the task {trace.task[:40]!r}, which this program does not know.")
    return task.from_dict(trace.problem)


def _task_names() -> Any:
    return TASKS["maze"].place_name


def _route(trace: Trace, size: int) -> list[list[int]]:
    r, c = _problem(trace).board.agent
    cells = [[r, c]]
    for move in trace.moves:
        dr, dc = MOVES.get(move, (0, 0))
        r, c = min(max(r + dr, 0), size - 1), min(max(c + dc, 0), size - 1)
        cells.append([r, c])
    return cells


def _latent(latent: LatentStep, size: int) -> dict[str, Any]:
    rows, cols = latent.grid
    heat = list(latent.heat)
    if heat and rows == cols == canvas_cells(size):  # one value a cell of the canvas: keep those of the board
        at = board_offset(size)
        heat = [heat[r * cols + c] for r in range(at, at + size) for c in range(at, at + size)]
        rows = cols = size
    words = [[word, round(share, 3)] for word, share in latent.words[:WORDS]]
    return {"token": latent.token, "words": words, "norm": round(latent.norm, 2), "heat": [round(h, 4) for h in heat], "grid": [rows, cols]}


def _pictures(images: list[Image], size: int, sent: set[str], fit: Fit | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if fit is not None and "own" not in sent:
        sent.add("own")
        found["own"] = own_picture.place(fit)
    for image in images:
        key = image.hash[:16]
        if key not in sent:
            sent.add(key)
            found[key] = picture_view(image, size) | ({"own": own_picture.overlay(fit, image)} if fit else {})
    return found


@lru_cache(maxsize=1024)
def picture_view(image: Image, size: int) -> dict[str, Any]:
    """One picture without its white margin, and what the program reads in it: for an alternative text."""
    cells, at = canvas_cells(size), board_offset(size)
    picture = image.to_pil()
    if image.width == image.height and image.width % cells == 0:
        unit = image.width // cells
        picture = picture.crop((at * unit, at * unit, (at + size) * unit, (at + size) * unit))
    buffer = io.BytesIO()
    picture.quantize(256).save(buffer, "PNG") if picture.getcolors(256) else picture.save(buffer, "PNG")
    board = TASKS["maze"].read(image, size).board
    kinds = [(kind, TASKS["maze"].place_name((r, c))) for r, row in enumerate(board.cells if board else ()) for c, kind in enumerate(row)]
    return {
        "src": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "agent": next((cell for kind, cell in kinds if kind in (AGENT, AGENT_ON_GOAL)), None),
        "goal": next((cell for kind, cell in kinds if kind in (GOAL, AGENT_ON_GOAL)), None),
        "grey": sum(kind == GREY for kind, _ in kinds),
        "trail": sum(kind == TRAIL for kind, _ in kinds),
    }
