"""Fifty visitors at once: every one gets a run of the own maze, whole, whatever the others do."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from serving import fold, served, slipping

from agents.tasks import maze
from agents.trace import Trace

VISITORS = 50
HANG = 900.0  # seconds: far beyond any run, so that a hang ends the test


@dataclass(frozen=True)
class Visitor:
    number: int
    http: httpx.AsyncClient

    async def stream(self, name: str, *args: Any) -> AsyncIterator[Any]:
        asked = await self.http.post(f"gradio_api/call/{name}", json={"data": list(args)})
        asked.raise_for_status()
        event = ""
        async with self.http.stream("GET", f"gradio_api/call/{name}/{asked.json()['event_id']}") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event in ("generating", "complete", "error"):
                    data = json.loads(line.removeprefix("data: "))
                    assert event != "error", f"visitor {self.number}, {name}: {data}"
                    if data:
                        yield data[0]

    async def call(self, name: str, *args: Any) -> Any:
        return [value async for value in self.stream(name, *args)][-1]

    async def visit(self) -> None:
        """Take a maze of one's own, run it, now and then lose the connection or stop, and look at what came out."""
        rows = (await self.call("new_maze", 4 + self.number % 3, self.number, "grown"))["rows"]
        job = (await self.call("start_run", rows, "model", 3, 0, 1, self.number, "", ""))["job"]
        pieces: list[Any] = []
        if self.number % 3 == 0:  # the connection is lost after the first piece
            async for piece in self.stream("follow", job, 0):
                pieces.append(piece)
                break
        stopping = self.number % 10 == 9
        if stopping:
            await self.call("stop", job)
        known = sum(step["done"] for step in fold(pieces)["steps"].values())
        async for piece in self.stream("follow", job, known):
            pieces.append(piece)
        seen = fold(pieces)
        file = await self.call("export", job, "json", False)
        trace = Trace.from_json(base64.b64decode(file["base64"]))
        self.check(rows, seen, trace, stopping)

    def check(self, rows: list[str], seen: dict[str, Any], trace: Trace, stopping: bool) -> None:
        problem = maze.paint(rows)
        assert trace.problem["rows"] == rows and trace.start == problem.image and trace.settings["seed"] == self.number
        assert list(seen["steps"]) == list(range(len(trace.steps)))
        assert [step["thought"] for step in seen["steps"].values()] == [step.thought for step in trace.steps]
        if stopping and trace.reason == "stopped":
            return
        assert all(step["done"] for step in seen["steps"].values())
        score = maze.score(problem, trace.pictures(), trace.moves)
        assert trace.reason == "satisfied" and score.solved and seen["head"]["score"]["solved"]


def test_fifty_visitors_at_once() -> None:
    async def all_of_them(url: str) -> None:
        # A connection a request: one that lies idle may be closed by the server at the moment it is used again.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=url, timeout=HANG, limits=limits) as http:
            await asyncio.wait_for(asyncio.gather(*(Visitor(number, http).visit() for number in range(VISITORS))), HANG)

    with served(slipping()) as url:
        asyncio.run(all_of_them(url))
