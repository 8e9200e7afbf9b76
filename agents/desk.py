"""What the page and every API client can ask for: mazes, runs, files. No web framework in it; refusals are our named errors."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from agents import damage, incoming, looks, own_picture, uploads, view
from agents.export import Wear, gif, strip
from agents.incoming import text, whole
from agents.jobs import Jobs
from agents.settings import Settings
from agents.shelf import Patient, Shelf
from agents.tasks import TASKS
from agents.trace import Branch, Trace, branch
from agents.trace_file import MAX_BYTES
from agents.waiting import Loading
from unimm.errors import BadInput, ModelUnavailable
from unimm.model import can_do

TRACES = Path(__file__).parent.parent / "assets" / "traces"
SPLIT = "test"  # new mazes have wall layouts that the model never saw in training
STYLES = ("any", "lattice", "grown")
FIRST = (6, 7)  # size and seed of the maze on the page at first
LOOK_EVERY = 0.04


def recorded() -> dict[str, Path]:
    """The recorded runs by name."""
    return {path.stem: path for path in sorted(TRACES.glob("*.json"))}


class Desk:
    """The endpoints over the models and their runs; one method each, with the types and defaults that the API shows."""

    def __init__(self, embedded: Loading, shelf: Shelf) -> None:
        self.embedded, self.shelf, self.jobs, self.maze = embedded, shelf, Jobs(), TASKS["maze"]

    def models(self) -> list[dict[str, Any]]:
        """All models: name, whether it is available here, and if not why not and the command that gets it; what it can do."""
        return self.shelf.offer()

    def new_maze(self, size: int = FIRST[0], seed: int = FIRST[1], style: str = "any") -> dict[str, Any]:
        """A maze with exactly one way through. size 4 to 8; style any, lattice or grown. Gives rows of # wall . floor S start G goal."""
        if style not in STYLES:
            raise BadInput(f"style must be one of {', '.join(STYLES)}.")
        size = whole(size, "size", self.maze.groups[0], self.maze.groups[-1])
        problem = self.maze.problem(SPLIT, whole(seed, "seed", 0, 10**9), size, None if style == "any" else style)
        return {"rows": list(problem.rows), "id": problem.id}

    def check_maze(self, rows: list[str]) -> dict[str, Any]:
        """Whether a painted maze can be run: {"ok": true} or {"ok": false, "reason": why}."""
        try:
            self._painted(rows)
        except BadInput as error:
            return {"ok": False, "reason": str(error)}
        return {"ok": True, "reason": ""}

    def new_problem(self, task: str, seed: int = FIRST[1], group: str = "") -> dict[str, Any]:
        """A problem of any task as {"problem", "asked", "picture"}. group: a kind of question or a category, "" for any."""
        group = text(group, "group", 40)
        return _shown(incoming.task(task).problem(SPLIT, whole(seed, "seed", 0, 10**9), group or None))

    def check_problem(self, problem: dict[str, Any]) -> dict[str, Any]:
        """A problem with its question in words and its picture, and {"ok": true}; {"ok": false, "reason": why} where it is none."""
        try:
            return {"ok": True, "reason": "", **_shown(incoming.problem(problem))}
        except BadInput as error:
            return {"ok": False, "reason": str(error)}

    def read_picture(self, picture: str) -> dict[str, Any]:
        """The maze in a PNG, JPEG or WebP picture (base64), drawn by us or in the Uni-MMMU style.

        Gives rows and, for a picture in the Uni-MMMU style, the picture to give to start_run: the steps are then shown on it too.
        """
        problem = uploads.board_in(incoming.picture(picture))
        return {"rows": list(problem.rows), "picture": problem.picture}

    def read_scene(self, picture: str) -> dict[str, Any]:
        """The scene in a picture (base64) of our coloured shapes, as a list of [colour, shape, size, place]."""
        return {"scene": uploads.scene_in(incoming.picture(picture))}

    def start_run(
        self, rows: list[str], steer: str = "model", rounds: int = 6, temperature: float = 0.0, guidance: float = 1.0, seed: int = 0,
        picture: str = "", model: str = "",
    ) -> dict[str, str]:
        """Start a run on a maze and give its job id, with which anybody can follow, stop and export it.

        picture: what read_picture gave. model: a name that models gives, "" for the first one that was taught the task.
        """
        problem, settings = self._painted(rows), _settings(steer, rounds, temperature, guidance, seed)
        if picture:
            problem = uploads.with_picture(problem, incoming.picture(picture))
        return {"job": self._start(problem, settings, model)}

    def start(self, problem: dict[str, Any], settings: dict[str, Any] | None = None, model: str = "", way: str = "draw") -> dict[str, str]:
        """Start a run on a problem of any task and give its job id.

        settings: steer, rounds, temperature, guidance, seed, critique, thoughts, best_of, as far as they are not the usual ones.
        way: "draw" or "glance" (answer at once, without drawing first).
        """
        if way not in ("draw", "glance"):
            raise BadInput("way must be draw or glance.")
        return {"job": self._start(incoming.problem(problem), incoming.settings(settings or {}), model, way)}

    def branch(
        self, source: str, step: int, thought: str | None = None, seed: int | None = None, steer: str = "model", rounds: int = 6,
        temperature: float = 0.0, guidance: float = 1.0, model: str = "",
    ) -> dict[str, str]:
        """Go on from a step of a run, with another thought or seed. source: a job id, "recorded:NAME" or a trace as JSON text."""
        thought = None if thought is None else text(thought, "thought", 2000)
        seed = None if seed is None else whole(seed, "seed", 0, 2**31 - 1)
        point = branch(self._trace(source), whole(step, "step", 0, 10**6), thought=thought, seed=seed)
        view.size_of(point.trace)
        return {"job": self._start(point, _settings(steer, rounds, temperature, guidance, 0 if seed is None else seed), model)}

    def damage(self, source: str, step: int, changes: list[dict[str, str]]) -> dict[str, str]:
        """A copy of a step's picture after changes with a task's tools, such as {"tool": "paint", "at": "c3", "to": "wall"}."""
        trace = self._trace(source)
        image = damage.damaged(trace, whole(step, "step", 0, 10**6), b"", changes)
        return {"src": view.data_url(image, looks.window(looks.problem_of(trace), image))}

    def judge_damage(
        self, source: str, step: int, changes: list[dict[str, str]], layer: str = "", model: str = "",
    ) -> dict[str, str]:
        """Have model and program judge a damaged copy of a step's picture: a short run, followed as any other.

        layer: what a brush put over the picture, a base64 PNG of its size, transparent where nothing was painted. To let the
        model repair the picture, branch from the run's last step.
        """
        trace, step = self._trace(source), whole(step, "step", 0, 10**6)
        image = damage.damaged(trace, step, incoming.base64_bytes(layer, "layer"), changes)
        return {"job": self._start(branch(trace, step, picture=image), incoming.settings({}), model, "judge")}

    def stop(self, job: str) -> dict[str, bool]:
        """Stop a run; what it has drawn stays."""
        self.jobs.stop(text(job, "job", 100))
        return {"stopping": True}

    def open_trace(self, source: str) -> dict[str, Any]:
        """A run as the page shows it. source: a job id, "recorded:NAME" or a trace as JSON text."""
        trace = self._trace(source)
        return {"running": False, **view.patch(trace)}

    def export(self, source: str, kind: str = "json", own: bool = False) -> dict[str, str]:
        """A run as a file: kind json, gif or png; gives {"name", "mime", "base64"}. source as in open_trace.

        own: gif and png show the steps on the visitor's own picture, where the run has one.
        """
        if kind not in EXPORTS:
            raise BadInput(f"kind must be one of {', '.join(EXPORTS)}.")
        trace = self._trace(source)
        view.size_of(trace)
        mime, make = EXPORTS[kind]
        fit = own_picture.fit_of(trace) if own is True else None
        return {"name": f"run.{kind}", "mime": mime, "base64": base64.b64encode(make(trace, fit and own_picture.on_it(fit))).decode()}

    def status(self) -> dict[str, Any]:
        """Whether the embedded model is ready, and why not."""
        return {"ready": self.embedded.ready and not self.embedded.error, "error": self.embedded.error}

    async def follow(self, job: str, since: int = 0) -> AsyncIterator[dict[str, Any]]:
        """A run as it goes, in pieces; ``since`` is how many finished steps are known already. Ends when the run has ended."""
        job, since = text(job, "job", 100), whole(since, "since", 0, 10**6)
        model = self.jobs.agent(job).name
        old, sent, first = None, set[str](), True
        while True:
            running = self.jobs.running(job)  # asked before the snapshot: the last piece misses nothing
            trace = self.jobs.snapshot(job)
            if first or trace is not old or not running:
                pieces = view.patch(trace, old, since, sent) if trace is not None else {}
                words = "" if running else self._last_words(job, trace)
                yield {"running": running, "ready": self.shelf.ready(model), "model": model, "words": words, **pieces}
                old, first = trace, False
            if not running:
                return
            await asyncio.sleep(LOOK_EVERY)

    async def solve(
        self, size: int = FIRST[0], seed: int = FIRST[1], rows: list[str] | None = None, steer: str = "model", rounds: int = 6,
        model: str = "",
    ) -> dict[str, Any]:
        """A whole run in one call, on a new maze or on given rows. Gives solved, moves, answer, reason and the trace."""
        rows = self.new_maze(size, seed)["rows"] if rows is None else rows
        job = self.start_run(rows, steer, rounds, model=model)["job"]
        while self.jobs.running(job):
            await asyncio.sleep(LOOK_EVERY)
        trace = self.jobs.snapshot(job)
        if trace is None:
            raise ModelUnavailable(self._last_words(job, None))
        return {
            "solved": bool(trace.score and trace.score["solved"]), "moves": list(trace.moves), "answer": trace.answer,
            "reason": trace.reason, "trace": trace.to_dict(),
        }

    def _painted(self, rows: Any) -> Any:
        if not isinstance(rows, list) or len(rows) > 64 or not all(isinstance(row, str) and len(row) <= 64 for row in rows):
            raise BadInput("rows must be a list of texts, one a row of the maze.")
        return self.maze.paint(rows)

    def _start(self, given: Any, settings: Settings, model: str, way: str = "draw") -> str:
        task, picture = (given.trace.task, given.trace.start) if isinstance(given, Branch) else (given.task, given.image)
        name = self.shelf.check(text(model, "model", 200), task)
        if name == self.shelf.embedded and self.embedded.error:
            raise ModelUnavailable(self.embedded.error)
        can = self.shelf.capabilities(name)
        if not can_do(can, task):
            raise BadInput(f"{name} was not trained on the task {task}. Choose another model or one of its tasks: {', '.join(can.taught)}.")
        # A model that was taught the task knows its canvas only; what others draw is scaled to it.
        if task in can.taught and can.image_sizes and picture.width not in can.image_sizes:
            raise BadInput(f"This model draws boards of {self.maze.groups[0]} to {self.maze.groups[-1]} cells a side.")
        return self.jobs.start(Patient(self.shelf, name, TASKS[task], settings, way), given)

    def _trace(self, source: Any) -> Trace:
        source = text(source, "source", MAX_BYTES)
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


def _settings(steer: str, rounds: int, temperature: float, guidance: float, seed: int) -> Settings:
    return incoming.settings({"steer": steer, "rounds": rounds, "temperature": temperature, "guidance": guidance, "seed": seed})


def _shown(problem: Any) -> dict[str, Any]:
    """A problem as a page shows it, before any run."""
    picture = view.data_url(problem.image, looks.window(problem, problem.image))
    return {"problem": problem.to_dict(), "asked": TASKS[problem.task].request(problem), "picture": picture}


def _gif(trace: Trace, wear: Wear | None) -> bytes:
    return gif(trace, wear=wear)


def _png(trace: Trace, wear: Wear | None) -> bytes:
    buffer = io.BytesIO()
    strip(trace, wear=wear).save(buffer, "PNG")
    return buffer.getvalue()


EXPORTS: dict[str, tuple[str, Callable[[Trace, Wear | None], bytes]]] = {
    "json": ("application/json", lambda trace, wear: trace.to_json().encode()),
    "gif": ("image/gif", _gif),
    "png": ("image/png", _png),
}

ENDPOINTS = (
    "new_maze", "check_maze", "new_problem", "check_problem", "read_picture", "read_scene", "start_run", "start", "branch", "damage",
    "judge_damage", "stop", "open_trace", "export", "status", "models", "follow", "solve",
)
"""The methods of ``Desk`` that the API offers; the last two go on while a run does."""
