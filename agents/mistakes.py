"""Collect what a model draws wrong: ``python -m agents.mistakes --model FOLDER --tasks maze,compose --n 500 --out FILE.jsonl``.

At a random moment of a gold solution (problems of the split train) the model thinks and draws; the program checks the picture.
Wrong ones are kept, and right ones for comparison, so that lessons can be made from them (``agents.teaching.own``). A run that
was cut goes on where it was; another seed, temperature or model appends to the same file.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from einops import reduce

from agents import prompts
from agents.evaluate import weights_hash
from agents.run import WHICH, load_model
from agents.state import fitted
from agents.tasks import TASKS, Cell, Task, geometry
from agents.tasks.compose_words import planned
from agents.tasks.scene import read, render
from agents.teaching.own import TOKEN_PX, canvas, lines, packed, whole_lines
from unimm.document import Image, Text
from unimm.errors import BadInput, UnimmError
from unimm.model import UnifiedModel, finished_parts, options_type

FAR = 32.0
"""A token whose pixels differ by more than this on average (0..255) shows something else, whatever the program reads there."""
Clock = Callable[[], float]


@dataclass(frozen=True)
class Series:
    """What makes drawings repeatable: the same series gives the same ones. ``by`` names the weights; thoughts are as warm as pictures
    where they have no ``text_temperature`` of their own."""

    by: str
    seed: int = 0
    temperature: float = 1.0
    text_temperature: float | None = None

    @property
    def name(self) -> str:
        return f"{self.by} {self.seed} {self.temperature:g}" + ("" if self.text_temperature is None else f" {self.text_temperature:g}")


@dataclass(frozen=True)
class Tally:
    """Moments tried, pictures drawn at them (a thought may end without one), wrong ones of these, and right ones that were kept."""

    tried: int = 0
    drawn: int = 0
    wrong: int = 0
    right: int = 0

    @property
    def words(self) -> str:
        share = f" ({self.wrong / self.drawn:.1%})" if self.drawn else ""
        return f"{self.tried} moments, {self.drawn} drawings, {self.wrong} wrong{share}, {self.right} right ones kept"


@dataclass(frozen=True)
class Drawing:
    """What the model made of one moment. ``gold`` is the next picture of the gold solution, ``after`` what was drawn."""

    problem: Any
    before: Image
    gold: Image
    thought: str
    after: Image | None


@dataclass(frozen=True)
class Collected:
    """What a run came to, a task: its tally, and how often which kind of fault."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    faults: dict[str, Counter[str]] = field(default_factory=dict)


def collect(
    model: UnifiedModel, tasks: Sequence[Task], n: int, series: Series, file: Path, share: float = 1.0,
    minutes: float | None = None, clock: Clock = time.monotonic,
) -> Collected:  # fmt: skip
    """Try ``n`` moments of every task, tasks taking turns, and append what is kept to ``file``; ends after ``minutes``.

    ``share`` right drawings are kept for every wrong one.
    """
    began, known = clock(), resumed(file, series)
    found = Collected({task.name: known.get(task.name, Tally()) for task in tasks}, {task.name: Counter() for task in tasks})
    with file.open("a", encoding="utf-8") as out:

        def write(task: Task, row: Mapping[str, Any]) -> None:
            out.write(json.dumps({"task": task.name, "series": series.name, **row, "tally": asdict(found.tallies[task.name])}) + "\n")
            out.flush()

        for number in range(n):
            for task in tasks:
                tally = found.tallies[task.name]
                if number < tally.tried or (minutes is not None and clock() - began >= 60 * minutes):
                    continue
                drawing = drawn(model, task, series, number)
                found.tallies[task.name], row = counted(task, drawing, tally, share)
                if row is not None:
                    write(task, {"number": number, **row})
                    found.faults[task.name].update([row["fault"]] if row["fault"] else [])
        for task in tasks:
            if found.tallies[task.name] != known.get(task.name):
                write(task, {})  # what was tried since the last drawing that was kept
    return found


def resumed(file: Path, series: Series) -> dict[str, Tally]:
    """How far a series came in a file, by task; a line that was cut is taken away. Raises ``BadInput`` for other files."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        return {}
    found = {row["task"]: Tally(**row["tally"]) for row in lines(file) if row.get("series") == series.name}
    with file.open("r+b") as rows:
        rows.truncate(len(whole_lines(rows.read())))
    return found


def drawn(model: UnifiedModel, task: Task, series: Series, number: int) -> Drawing:
    """Think and draw at one moment: depends on series, task and number alone. Early moments come more often than late ones."""
    rng = random.Random(f"mistakes:{task.name}:{series.seed}:{number}")
    problem = task.problem("train", rng.randrange(10**9), rng.choice(task.groups))
    frames = task.solve(problem).frames
    at = min(rng.randrange(len(frames)), rng.randrange(len(frames)))
    before = problem.image if at == 0 else task.render(frames[at - 1])
    thinking = series.temperature if series.text_temperature is None else series.text_temperature
    warm = {"temperature": series.temperature, "text_temperature": thinking}
    options = replace(options_type(model)(), seed=rng.randrange(2**31), **warm)
    asked = prompts.wording(task, model.capabilities).next_step(problem, before)
    parts = finished_parts(model.stream(asked, "image", options))
    thought = "".join(part.text for part in parts if isinstance(part, Text))
    after = next((fitted(part, problem.image) for part in reversed(parts) if isinstance(part, Image)), None)
    return Drawing(problem, before, task.render(frames[at]), thought, after)


def counted(task: Task, drawing: Drawing, tally: Tally, share: float) -> tuple[Tally, dict[str, Any] | None]:
    """The tally with one more drawing, and its row where it is kept: wrong, or right and due by the share."""
    tally = replace(tally, tried=tally.tried + 1)
    if drawing.after is None:
        return tally, None
    check = task.check(drawing.problem, drawing.before, drawing.after)
    tally = replace(tally, drawn=tally.drawn + 1, wrong=tally.wrong + (not check.ok))
    if check.ok:
        if not check.changed or tally.right >= share * tally.wrong:
            return tally, None
        tally = replace(tally, right=tally.right + 1)
    repaired = None if check.ok else repair(task, drawing, check.words)
    wrong = [] if check.ok else None if repaired is None else wrong_tokens(task, drawing.problem, repaired, drawing.after)
    return tally, {
        "problem": drawing.problem.to_dict(), "ask": task.asks(drawing.problem)["judge"], "thought": drawing.thought,
        "before": packed(drawing.before), "after": packed(drawing.after), "repaired": repaired and packed(repaired),
        "words": check.words, "ok": check.ok, "fault": check.fault, "where": check.where and list(check.where),
        "changed": [list(cell) for cell in check.changed], "wrong": wrong,
        "places": [] if check.ok else sorted(list(cell) for cell in task.places(drawing.problem, drawing.before, drawing.after)),
    } | _sights(task, drawing.problem, drawing.before, drawing.after)  # fmt: skip


def _sights(task: Task, problem: Any, before: Image, after: Image) -> dict[str, Any]:
    """What there is to see on a figure, for its row; of other tasks nothing more."""
    if task.name != "geometry":
        return {}
    found = geometry.sights(problem.question, before, after)
    wear = geometry.wear(problem.question, after).tolist()
    return {"sights": {kind: sorted(map(list, points)) for kind, points in found.items()}, "wear": wear}


def repair(task: Task, drawing: Drawing, words: str) -> Image | None:
    """The right picture that a redraw after this verdict should arrive at; None where the program knows none."""
    picture: Image | None = drawing.gold
    if task.name == "compose" and drawing.after is not None:  # many scenes are right: the one that the verdict's plan leads to
        scene = planned(read(drawing.after).scene, words)
        picture = render(scene) if scene is not None else None
    return picture if picture is not None and task.check(drawing.problem, drawing.before, picture).ok else None


def wrong_tokens(task: Task, problem: Any, right: Image, after: Image) -> list[Cell]:
    """The tokens (row, column) of a drawing that are not as in the right picture: as the program reads it, or by far in pixels."""
    first, *_ = task.grid(problem)
    cells = {(first + r, first + c) for r, c in task.check(problem, right, after).changed}
    apart = np.abs(canvas(right).astype(np.float32) - canvas(after))
    far = reduce(apart, "(r y) (c x) rgb -> r c", "mean", y=TOKEN_PX, x=TOKEN_PX) > FAR
    return sorted(cells | {(int(r), int(c)) for r, c in np.argwhere(far)})


def main(arguments: Sequence[str] | None = None, load: Callable[[str], UnifiedModel] = load_model) -> int:
    """The command; returns the exit status: 0 collected, 2 could not."""
    flags = argparse.ArgumentParser(
        prog="python -m agents.mistakes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--model", default="star-tiny", help=f"{WHICH} (default: star-tiny)")
    flags.add_argument("--tasks", default=",".join(TASKS), help="some of %(default)s (default: all)")
    flags.add_argument("--n", type=int, default=500, help="moments of every task (default: 500)")
    flags.add_argument("--temperature", type=float, default=1.0, help="of thoughts and pictures (default: 1)")
    flags.add_argument("--text-temperature", type=float, help="of thoughts alone: 0 for mistakes in drawing only")
    flags.add_argument("--seed", type=int, default=0, help="which problems, moments and drawings (default: 0)")
    flags.add_argument("--right", type=float, default=1.0, help="right drawings kept for every wrong one (default: 1)")
    flags.add_argument("--minutes", type=float, help="stop after so many minutes; the same command goes on later")
    flags.add_argument("--out", type=Path, required=True, help="file of drawings, one JSON line each; it is appended to")
    given = flags.parse_args(arguments)
    try:
        names = list(dict.fromkeys(name for name in given.tasks.split(",") if name))
        if not names or set(names) - set(TASKS) or given.n < 0 or given.right < 0:
            raise BadInput(f"--tasks are some of {','.join(TASKS)}; --n and --right are 0 or more.")
        model = load(given.model)
        series = Series(weights_hash(given.model)[:12] or model.name, given.seed, given.temperature, given.text_temperature)
        found = collect(model, [TASKS[name] for name in names], given.n, series, given.out, given.right, given.minutes)
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, tally in found.tallies.items():
        kinds = ", ".join(f"{kind} {count}" for kind, count in found.faults[name].most_common())
        print(f"{name}: {tally.words}{f'; now: {kinds}' if kinds else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
