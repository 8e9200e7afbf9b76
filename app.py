"""The page: a maze, a Run button, and the trace of a model that draws, looks and redraws. Also the named API endpoints.

The page itself is a client of these endpoints (``assets/ui``); nothing it can do is closed to ``gradio_client``.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # ZeroGPU wants this import before anything touches CUDA

    @spaces.GPU(duration=5)
    def _gpu_at_hand() -> None:
        """ZeroGPU starts no Space without a GPU function; the embedded model is quicker on the CPU than a GPU is lent."""


import argparse
import asyncio
import base64
import binascii
import functools
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import gradio as gr

from agents import uploads, view
from agents.jobs import Jobs
from agents.settings import Settings
from agents.tasks import TASKS
from agents.trace import Trace, branch
from agents.trace_file import MAX_BYTES
from agents.waiting import Loading, Patient, loaded
from unimm.errors import BadInput, ModelUnavailable, UnimmError
from unimm.model import UnifiedModel

ASSETS = Path(__file__).parent / "assets"
SPLIT = "test"  # new mazes have wall layouts that the model never saw in training
STYLES = ("any", "lattice", "grown")
FIRST = (6, 7)  # size and seed of the maze on the page at first
SECONDS = 600.0  # a run's budget here: visitors wait for one another
LOOK_EVERY = 0.04

log = logging.getLogger("app")


# ---- what comes in


def said(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Our named errors become messages for the visitor; anything else is a bug and stays one."""

    @functools.wraps(endpoint)
    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(*args, **kwargs)
        except UnimmError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return answer


def _whole(value: Any, name: str, low: int, high: int) -> int:
    whole = isinstance(value, float) and value.is_integer() if not isinstance(value, int) else not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise BadInput(f"{name} must lie between {low} and {high}, not {str(value)[:40]!r}.")
    return int(value)


def _text(value: Any, name: str, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise BadInput(f"{name} must be a text of at most {limit} characters.")
    return value


def _settings(steer: str, rounds: int, temperature: float, guidance: float, seed: int) -> Settings:
    rounds, seed = (int(value) if isinstance(value, float) and value.is_integer() else value for value in (rounds, seed))
    return Settings(steer=steer, rounds=rounds, temperature=temperature, guidance=guidance, seed=seed, seconds=SECONDS)


def recorded() -> dict[str, Path]:
    """The recorded runs by name."""
    return {path.stem: path for path in sorted((ASSETS / "traces").glob("*.json"))}


# ---- the endpoints


class Desk:
    """The endpoints over one model and its runs; one method each, with the types and defaults that the API shows."""

    def __init__(self, model: Loading) -> None:
        self.model, self.jobs, self.task = model, Jobs(), TASKS["maze"]

    def new_maze(self, size: int = FIRST[0], seed: int = FIRST[1], style: str = "any") -> dict[str, Any]:
        """A maze with exactly one way through. size 4 to 8; style any, lattice or grown. Gives rows of # wall . floor S start G goal."""
        if style not in STYLES:
            raise BadInput(f"style must be one of {', '.join(STYLES)}.")
        size = _whole(size, "size", self.task.sizes[0], self.task.sizes[-1])
        problem = self.task.problem(SPLIT, _whole(seed, "seed", 0, 10**9), size, None if style == "any" else style)
        return {"rows": list(problem.rows), "id": problem.id}

    def check_maze(self, rows: list[str]) -> dict[str, Any]:
        """Whether a painted maze can be run: {"ok": true} or {"ok": false, "reason": why}."""
        try:
            self._problem(rows)
        except BadInput as error:
            return {"ok": False, "reason": str(error)}
        return {"ok": True, "reason": ""}

    def read_picture(self, picture: str) -> dict[str, Any]:
        """The maze in a PNG, JPEG or WebP picture (base64), drawn by us or in the Uni-MMMU style."""
        text = _text(picture, "picture", uploads.MAX_BYTES * 4 // 3 + 100)
        try:
            data = base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput("The picture must be sent as base64 text.") from error
        return {"rows": list(uploads.board_in(uploads.open_picture(data)).rows)}

    def start_run(
        self, rows: list[str], steer: str = "model", rounds: int = 3, temperature: float = 0.0, guidance: float = 1.0, seed: int = 0,
    ) -> dict[str, str]:
        """Start a run and give its job id, with which anybody can follow, stop and export it."""
        problem, settings = self._problem(rows), _settings(steer, rounds, temperature, guidance, seed)
        return {"job": self._start(problem, settings)}

    def branch(
        self, source: str, step: int, thought: str | None = None, seed: int | None = None, steer: str = "model", rounds: int = 3,
        temperature: float = 0.0, guidance: float = 1.0,
    ) -> dict[str, str]:
        """Go on from a step of a run, with another thought or seed. source: a job id, "recorded:NAME" or a trace as JSON text."""
        thought = None if thought is None else _text(thought, "thought", 2000)
        seed = None if seed is None else _whole(seed, "seed", 0, 2**31 - 1)
        point = branch(self._trace(source), _whole(step, "step", 0, 10**6), thought=thought, seed=seed)
        view.size_of(point.trace)
        return {"job": self._start(point, _settings(steer, rounds, temperature, guidance, 0 if seed is None else seed))}

    def stop(self, job: str) -> dict[str, bool]:
        """Stop a run; what it has drawn stays."""
        self.jobs.stop(_text(job, "job", 100))
        return {"stopping": True}

    def open_trace(self, source: str) -> dict[str, Any]:
        """A run as the page shows it. source: a job id, "recorded:NAME" or a trace as JSON text."""
        trace = self._trace(source)
        return {"running": False, **view.patch(trace)}

    def export(self, source: str, kind: str = "json") -> dict[str, str]:
        """A run as a file: kind json, gif or png; gives {"name", "mime", "base64"}. source as in open_trace."""
        if kind not in EXPORTS:
            raise BadInput(f"kind must be one of {', '.join(EXPORTS)}.")
        trace = self._trace(source)
        view.size_of(trace)
        mime, make = EXPORTS[kind]
        return {"name": f"run.{kind}", "mime": mime, "base64": base64.b64encode(make(trace)).decode()}

    def status(self) -> dict[str, Any]:
        """Whether the model is ready, and why not."""
        return {"ready": self.model.ready and not self.model.error, "error": self.model.error}

    async def follow(self, job: str, since: int = 0) -> AsyncIterator[dict[str, Any]]:
        """A run as it goes, in pieces; ``since`` is how many finished steps are known already. Ends when the run has ended."""
        try:
            job, since = _text(job, "job", 100), _whole(since, "since", 0, 10**6)
            self.jobs.running(job)
            old, sent, first = None, set[str](), True
            while True:
                running = self.jobs.running(job)  # asked before the snapshot: the last piece misses nothing
                trace = self.jobs.snapshot(job)
                if first or trace is not old or not running:
                    pieces = view.patch(trace, old, since, sent) if trace is not None else {}
                    words = "" if running else self._last_words(job, trace)
                    yield {"running": running, "ready": self.model.ready, "words": words, **pieces}
                    old, first = trace, False
                if not running:
                    return
                await asyncio.sleep(LOOK_EVERY)
        except UnimmError as error:
            raise gr.Error(str(error), print_exception=False) from error

    async def solve(
        self, size: int = FIRST[0], seed: int = FIRST[1], rows: list[str] | None = None, steer: str = "model", rounds: int = 3,
    ) -> dict[str, Any]:
        """A whole run in one call, on a new maze or on given rows. Gives solved, moves, answer, reason and the trace."""
        try:
            rows = self.new_maze(size, seed)["rows"] if rows is None else rows
            job = self.start_run(rows, steer, rounds)["job"]
            while self.jobs.running(job):
                await asyncio.sleep(LOOK_EVERY)
            trace = self.jobs.snapshot(job)
            if trace is None:
                raise ModelUnavailable(self._last_words(job, None))
        except UnimmError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return {
            "solved": bool(trace.score and trace.score["solved"]), "moves": list(trace.moves), "answer": trace.answer,
            "reason": trace.reason, "trace": trace.to_dict(),
        }

    def _problem(self, rows: Any) -> Any:
        if not isinstance(rows, list) or len(rows) > 64 or not all(isinstance(row, str) and len(row) <= 64 for row in rows):
            raise BadInput("rows must be a list of texts, one a row of the maze.")
        return self.task.paint(rows)

    def _start(self, given: Any, settings: Settings) -> str:
        if self.model.ready:
            sizes = self.model.wait(0).capabilities.image_sizes  # type: ignore[union-attr]
            picture = given.image if hasattr(given, "image") else given.trace.start
            if sizes and picture.width not in sizes:
                raise BadInput(f"This model draws boards of {self.task.sizes[0]} to {self.task.sizes[-1]} cells a side.")
        return self.jobs.start(Patient(self.model, self.task, settings), given)

    def _trace(self, source: Any) -> Trace:
        source = _text(source, "source", MAX_BYTES)
        if source.startswith("recorded:"):
            path = recorded().get(source.removeprefix("recorded:"))
            if path is None:
                raise BadInput("There is no recorded run of this name.")
            return Trace.load(path)
        if source in self.jobs:
            trace = self.jobs.snapshot(source)
            if trace is None:
                raise BadInput("This run has not begun yet.")
            return trace
        if not source.lstrip().startswith(("{", "[")) and len(source) < 64:
            raise BadInput("This run is not here any more. Start a new one, or open its downloaded trace.")
        return Trace.from_json(source)

    def _last_words(self, job: str, trace: Trace | None) -> str:
        """Why a run failed, or "" where it did not."""
        if trace is not None:
            return trace.words if trace.reason == "failed" else ""
        return next((getattr(event, "words", "") for _, event in self.jobs.follow(job)), "")


def _gif(trace: Trace) -> bytes:
    from agents.export import gif

    return gif(trace)


def _png(trace: Trace) -> bytes:
    import io

    from agents.export import strip

    buffer = io.BytesIO()
    strip(trace).save(buffer, "PNG")
    return buffer.getvalue()


EXPORTS: dict[str, tuple[str, Callable[[Trace], bytes]]] = {
    "json": ("application/json", lambda trace: trace.to_json().encode()),
    "gif": ("image/gif", _gif),
    "png": ("image/png", _png),
}

PUBLIC = ("new_maze", "check_maze", "read_picture", "start_run", "branch", "stop", "open_trace", "export", "status")
STREAMED = ("follow", "solve")


# ---- the page


def _bounds() -> dict[str, Any]:
    """The settings that the page shows, with bounds and defaults from where they are defined."""
    rows = {row.name: row for row in fields(Settings)}
    steps = {"rounds": 1, "temperature": 0.1, "guidance": 0.5, "seed": 1}
    shown: dict[str, Any] = {"steer": {"default": rows["steer"].default, "options": list(rows["steer"].metadata["choices"])}}
    for name, step in steps.items():
        meta = rows[name].metadata
        shown[name] = {"default": rows[name].default, "low": meta["low"], "high": meta["high"], "step": step}
    return shown


def _recorded_list() -> list[dict[str, Any]]:
    found = []
    for name, path in recorded().items():
        try:
            trace = Trace.load(path)
            found.append({"name": name, "size": view.size_of(trace), "steps": len(trace.path())})
        except UnimmError as error:
            log.warning("The recorded run %s is left out: %s", name, error)
    return found


def page_head() -> str:
    """What the page needs before it is built: its style, its data and its script, all in the document itself."""
    ui = ASSETS / "ui"
    words = json.loads((ui / "texts.json").read_text(encoding="utf-8"))
    messages = words.pop("messages")
    data = {
        "texts": words, "messages": messages, "settings": _bounds(), "styles": STYLES, "recorded": _recorded_list(),
        "board": list(TASKS["maze"].problem(SPLIT, FIRST[1], FIRST[0], None).rows),
        "limits": {"sizes": TASKS["maze"].sizes, "upload_mb": uploads.MAX_BYTES // 2**20, "trace_mb": MAX_BYTES // 2**20},
    }
    script = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ui.glob("*.js")))
    plain = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f"<style>{(ui / 'page.css').read_text(encoding='utf-8')}</style>"
        f'<script type="application/json" id="think-data">{plain}</script><script type="module">{script}</script>'
    )


def build(model: UnifiedModel | Loading) -> gr.Blocks:
    """The page and its API over one model; nothing is loaded and no thread is started here."""
    desk = Desk(model if isinstance(model, Loading) else loaded(model))
    with gr.Blocks(title="Draw to think", fill_width=True) as demo:
        gr.HTML(
            html_template=(ASSETS / "ui" / "page.html").read_text(encoding="utf-8"), js_on_load="window.thinkPage?.()",
            apply_default_css=False, elem_id="think-page",
        )
        for name in PUBLIC:
            gr.api(said(getattr(desk, name)), api_name=name, concurrency_limit=None)
        for name in STREAMED:
            gr.api(getattr(desk, name), api_name=name, concurrency_limit=None)
    return demo.queue(max_size=2048)


def launch(demo: gr.Blocks, **kwargs: Any) -> tuple[Any, str, str]:
    """Serve the page: no telemetry, no history, no monitoring page, small uploads."""
    return demo.launch(
        head=page_head(), footer_links=[], run_history=False, enable_monitoring=False, max_file_size="10mb", state_session_capacity=1000,
        show_error=False, **kwargs,
    )


def _embedded() -> UnifiedModel:
    from unimm import star

    return star.load()


def main() -> None:
    parser = argparse.ArgumentParser(description="Open the page.")
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    parser.add_argument("--host", default=host, help="0.0.0.0 to be reachable from other machines")
    parser.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    args = parser.parse_args()
    model = Loading(_embedded)
    demo = build(model)
    model.start()
    launch(demo, server_name=args.host, server_port=args.port)


if __name__ == "__main__":
    main()
