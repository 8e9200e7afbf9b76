"""The page, served for a test, and models whose pace the test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

import app
from agents import scripted
from agents.shelf import Shelf
from agents.tasks import maze
from unimm.document import Document, Image, Text
from unimm.events import ModelEvent
from unimm.model import Options, UnifiedModel, Want


@contextmanager
def served(model: UnifiedModel | app.Loading, shelf: Callable[[app.Loading], Shelf] = Shelf) -> Iterator[str]:
    """Serve the page over a model on a free port; gives its address."""
    demo = app.build(model, shelf)
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        yield url
    finally:
        demo.close()


def slipping() -> scripted.ScriptedModel:
    """A model that solves every maze, but draws the first move after a greying wrong at first: without the agent."""

    def draw(before: maze.Board, options: Options) -> maze.Board:
        after = maze.next_board(before) or before
        grey = sum(row.count(maze.GREY) for row in before.cells)
        return after.put({after.agent: maze.FLOOR}) if grey and not before.walked and after.agent != after.goal and after.agent else after

    return scripted.maze_model(draw=draw)


def redrawer(name: str = "janus-pro-1b") -> scripted.ScriptedModel:
    """A model that was taught nothing of ours and cannot edit, but draws right pictures; its sentences say nothing."""

    def script(document: Document, want: Want, options: Options) -> Iterator[scripted.Item]:
        pictures = [part for turn in document.turns for part in turn.parts if isinstance(part, Image)]
        board = maze.read(pictures[0]).board if pictures else None
        if want == "text" or board is None:
            yield Text("correct ." if pictures else "up, down")
            return
        yield Text("done" if board.agent == board.goal else "I go on.")
        yield maze.render(maze.next_board(board) or board)

    model = scripted.ScriptedModel(script, name)
    model.capabilities = replace(scripted.CAPABILITIES, edit=False, taught=())
    return model


def shelf_with(load: Callable[[str], UnifiedModel], *there: str) -> Callable[[app.Loading], Shelf]:
    """A shelf on which, of the published models, only those ``there`` can be loaded."""

    def why_not(name: str) -> str:
        return "" if name in there else f"not fetched; run: python -m unimm.models --get {name}"

    return lambda embedded: Shelf(embedded, why_not=why_not, load=load)


class Gated:
    """A model that answers a call only when the test lets it: one permit a call."""

    def __init__(self, model: UnifiedModel) -> None:
        self.model, self.name, self.capabilities = model, model.name, model.capabilities
        self.permits = threading.Semaphore(0)

    def let(self, calls: int) -> None:
        for _ in range(calls):
            self.permits.release()

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        self.permits.acquire()
        yield from self.model.stream(document, want, options)


def stream(url: str, name: str, *args: Any) -> Iterator[Any]:
    """What an endpoint yields, piece by piece as it comes, by the plain HTTP that the page itself speaks."""
    with httpx.Client(base_url=url, timeout=None) as http:
        event_id = http.post(f"gradio_api/call/{name}", json={"data": list(args)}).json()["event_id"]
        with http.stream("GET", f"gradio_api/call/{name}/{event_id}") as answer:
            event = ""
            for line in answer.iter_lines():
                event = line.removeprefix("event: ") if line.startswith("event: ") else event
                if line.startswith("data: ") and event in ("generating", "complete"):
                    yield json.loads(line.removeprefix("data: "))[0]
                assert not (line.startswith("data: ") and event == "error"), line


def fold(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """What a page knows after following: the last facts, all steps by id, all pictures."""
    seen: dict[str, Any] = {"head": None, "steps": {}, "pictures": {}}
    for piece in pieces:
        seen["head"] = piece.get("head") or seen["head"]
        seen["steps"] |= {step["id"]: step for step in piece.get("steps", {}).values()}
        seen["pictures"] |= piece.get("pictures", {})
    return seen
