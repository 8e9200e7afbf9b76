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
import functools
import inspect
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import gradio as gr

from agents import desk, uploads, view
from agents.settings import Settings
from agents.shelf import Shelf
from agents.tasks import TASKS, scene
from agents.trace import Trace
from agents.trace_file import MAX_BYTES
from agents.waiting import Loading, loaded
from unimm.errors import UnimmError
from unimm.model import UnifiedModel

ASSETS = Path(__file__).parent / "assets"

log = logging.getLogger("app")


def said(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Our named errors become messages for the visitor; anything else is a bug and stays one."""

    def refused(error: UnimmError) -> gr.Error:
        return gr.Error(str(error), print_exception=False)

    @functools.wraps(endpoint)
    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(*args, **kwargs)
        except UnimmError as error:
            raise refused(error) from error

    @functools.wraps(endpoint)
    async def answer_later(*args: Any, **kwargs: Any) -> Any:
        try:
            return await endpoint(*args, **kwargs)
        except UnimmError as error:
            raise refused(error) from error

    @functools.wraps(endpoint)
    async def answer_in_pieces(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        try:
            async for piece in endpoint(*args, **kwargs):
                yield piece
        except UnimmError as error:
            raise refused(error) from error

    if inspect.isasyncgenfunction(endpoint):
        return answer_in_pieces
    return answer_later if inspect.iscoroutinefunction(endpoint) else answer


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
    for name, path in desk.recorded().items():
        try:
            trace = Trace.load(path)
            found.append({"name": name, "task": trace.task, "size": view.size_of(trace), "steps": len(trace.path())})
        except UnimmError as error:
            log.warning("The recorded run %s is left out: %s", name, error)
    return found


def _panels(tasks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the panels of these tasks offer to choose from."""
    choices: dict[str, dict[str, Any]] = {
        "maze": {},
        "geometry": {"kinds": [str(kind) for kind in TASKS["geometry"].groups]},
        "compose": {"shapes": scene.SHAPES, "colours": scene.COLOURS, "sizes": scene.SIZES},
    }
    return {name: choices[name] for name in tasks}


def page_head(tasks: Sequence[str] = tuple(TASKS)) -> str:
    """What the page needs before it is built: its style, its data and its script, all in the document itself.

    ``tasks`` are those that some model here can do; others have no panel.
    """
    ui = ASSETS / "ui"
    words = json.loads((ui / "texts.json").read_text(encoding="utf-8"))
    messages = words.pop("messages")
    data = {
        "tasks": _panels(tasks), "texts": words, "messages": messages, "settings": _bounds(), "styles": desk.STYLES,
        "recorded": [row for row in _recorded_list() if row["task"] in tasks],
        "board": list(TASKS["maze"].problem(desk.SPLIT, desk.FIRST[1], desk.FIRST[0], None).rows),
        "limits": {"sizes": TASKS["maze"].groups, "upload_mb": uploads.MAX_BYTES // 2**20, "trace_mb": MAX_BYTES // 2**20},
    }
    script = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ui.glob("*.js")))
    plain = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f"<style>{(ui / 'page.css').read_text(encoding='utf-8')}</style>"
        f'<script type="application/json" id="think-data">{plain}</script><script type="module">{script}</script>'
    )


def build(model: UnifiedModel | Loading, shelf: Callable[[Loading], Shelf] = Shelf) -> gr.Blocks:
    """The page and its API over the embedded model and a shelf of others; nothing is loaded and no thread is started here."""
    embedded = model if isinstance(model, Loading) else loaded(model)
    endpoints = desk.Desk(embedded, shelf(embedded))
    with gr.Blocks(title="Draw to think", fill_width=True) as demo:
        gr.HTML(
            html_template=(ASSETS / "ui" / "page.html").read_text(encoding="utf-8"), js_on_load="window.thinkPage?.()",
            apply_default_css=False, elem_id="think-page",
        )
        for name in desk.ENDPOINTS:
            gr.api(said(getattr(endpoints, name)), api_name=name, concurrency_limit=None)
    return demo.queue(max_size=2048)


def launch(demo: gr.Blocks, tasks: Sequence[str] = tuple(TASKS), **kwargs: Any) -> tuple[Any, str, str]:
    """Serve the page: no telemetry, no history, no monitoring page, small uploads."""
    return demo.launch(
        head=page_head(tasks), footer_links=[], run_history=False, enable_monitoring=False, max_file_size="10mb",
        state_session_capacity=1000, show_error=False, **kwargs,
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
    launch(demo, Shelf(model).tasks(), server_name=args.host, server_port=args.port)


if __name__ == "__main__":
    main()
