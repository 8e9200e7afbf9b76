"""The maze part of the Uni-MMMU benchmark: read its folders, run the agent, write its output layout.

Data and layout as published (Vchitect/Uni-MMMU, Dec 2025).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from agents import prompts
from agents.events import Answered, Finished, Kept
from agents.loop import DrawAgent
from agents.settings import Settings
from agents.tasks import TASKS, foreign, maze
from agents.trace import Trace, fold
from unimm.document import Image
from unimm.errors import BadInput
from unimm.model import UnifiedModel, options_type, write

MODES = ("free", "oracle-length")
EXAMPLE = "00015"
"""The benchmark's worked example, which is not part of the test."""
MOST_MOVES = 8
"""Longest answer of the benchmark's own boards."""
MOST_PIXELS = 40_000_000

_FOLDER = re.compile(r"maze_6x6_(\d+)_steps")


@dataclass(frozen=True)
class Case:
    """One board of the benchmark: where its start picture is, and the true moves."""

    id: str
    start: Path
    moves: tuple[str, ...]


@dataclass(frozen=True)
class SuiteRun:
    """What a folder of results was made with; results of two different runs are not mixed."""

    model: str
    sha256: str
    mode: str = "free"
    seed: int = 0
    temperature: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def settings(self) -> Settings:
        return Settings(seed=self.seed, temperature=self.temperature, seconds=600.0)


# --- the benchmark's data


def load_cases(folder: Path) -> list[Case]:
    """The cases in the order of their ids, without the example; raises ``BadInput`` where the folder holds none or a file is damaged."""
    mazes = next((path for path in (folder / "data" / "maze", folder / "maze") if path.is_dir()), None)
    found = sorted(path for path in mazes.iterdir() if _FOLDER.fullmatch(path.name)) if mazes else []
    cases = [_case(path) for path in found if (path / "maze_step_0000.png").exists()]
    if not cases:
        raise BadInput(
            f"{folder} holds no boards of the benchmark: data/maze/maze_6x6_NNNNN_steps/maze_step_0000.png is looked for. Give the "
            "folder 'data' that data.tar unpacks to, or the one that holds it; --make-data draws boards in the same format."
        )
    for case in cases:
        open_picture(case.start)  # a damaged file is better found now than in the middle of a run
    return [case for case in cases if case.id != EXAMPLE]


def _case(folder: Path) -> Case:
    number = _FOLDER.fullmatch(folder.name)[1]
    answer = folder.parent / f"maze_6x6_steps_{number}.json"
    try:
        data = json.loads(answer.read_text(encoding="utf-8"))
        moves = tuple(str(move).strip().lower() for move in data["steps_long"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{answer} is missing or damaged: the true moves stand there under 'steps_long'. Unpack data.tar again.") from error
    if not moves or set(moves) - set(maze.MOVES):
        raise BadInput(f"{answer} holds no list of the moves up, down, left and right. Unpack data.tar again.")
    return Case(number, folder / "maze_step_0000.png", moves)


def open_picture(path: Path) -> Image:
    """A picture at its full size, checked in its header before it is unfolded."""
    try:
        with PILImage.open(path, formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise BadInput(f"{path} has more than {MOST_PIXELS // 10**6} megapixels. Scale it down.")
            return Image.from_pil(picture)
    except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError) as error:
        raise BadInput(f"{path} is missing or no readable picture. Put an undamaged PNG there.") from error


def make_data(folder: Path, n: int, seed: int) -> list[Case]:
    """Draw ``n`` different held-out boards (split test) as the benchmark's files; raises ``BadInput`` where the folder has some already.

    Layout and lengths are like the benchmark's: 6x6 lattices with one route of 3 to 8 moves. The example's id is not used.
    """
    mazes = folder / "data" / "maze"
    if mazes.exists():
        raise BadInput(f"{mazes} exists already. Give another folder, or remove it.")
    seen: set[maze.Board] = set()
    for number in range(200 * n):
        problem = maze.problem("test", seed * 10**6 + number, foreign.CELLS, "lattice")
        if len(maze.route(problem.board) or ()) <= MOST_MOVES:
            seen.add(problem.board)
        if len(seen) == n:
            break
    boards = sorted(seen, key=lambda board: board.cells)
    names = [name for number in range(1, len(boards) + 2) if (name := f"{number:05d}") != EXAMPLE]
    return [_write_case(mazes, name, board) for name, board in zip(names, boards, strict=False)]


def _write_case(mazes: Path, name: str, board: maze.Board) -> Case:
    steps = mazes / f"maze_6x6_{name}_steps"
    steps.mkdir(parents=True)
    moves = maze.route(board) or ()
    for number in range(len(moves) + 1):
        (steps / f"maze_step_{number:04d}.png").write_bytes(foreign.draw(board).to_png())
        if number < len(moves):
            board = maze.step(board, moves[number])
    (mazes / f"maze_6x6_steps_{name}.json").write_text(json.dumps({"steps_long": list(moves)}) + "\n", encoding="utf-8")
    return Case(name, steps / "maze_step_0000.png", moves)


# --- running


def case_folder(out: Path, case: Case) -> Path:
    return out / "maze" / f"case_{case.id}"


def unfinished(cases: Iterable[Case], out: Path, run: SuiteRun) -> list[Case]:
    """The cases that have no result yet; raises ``BadInput`` where the folder's results come from another run."""
    left = []
    for case in cases:
        folder = case_folder(out, case)
        if not (folder / "_done.ok").exists():
            left.append(case)
        elif read_result(folder).get("run") != run.to_dict():
            raise BadInput(f"{folder} holds a result of another model, mode, seed or temperature. Give another --out, or --score-only.")
    return left


def read_result(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def run_case(run: SuiteRun, out: Path, model: UnifiedModel, case: Case) -> str:
    """Solve one case and write its folder, the mark that it is done last; returns its id."""
    folder, start = case_folder(out, case), open_picture(case.start)
    pictures = folder / "cand_01"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.iterdir():  # left by a run that was cut: every file here would count as a frame
        old.unlink()
    trace, frames, moves, words = None, [], (), ""
    try:
        problem, fit = foreign.fit(start)
    except BadInput as error:
        words = str(error)
    else:
        trace = solve(model, problem, fit, run.settings, len(case.moves) if run.mode == "oracle-length" else None)
        frames, moves, words = foreign.walk(fit, trace.pictures()), trace.moves, trace.words
        trace.save(folder / "trace.json")
    for number, frame in enumerate(frames, 1):
        (pictures / f"maze_step_0000_step_{number:04d}.png").write_bytes(frame.to_png())
    (folder / "model_text.txt").write_text(foreign.answer_text(moves) + "\n", encoding="utf-8")
    result = {
        "id": case.id, "step0": str(case.start), "run": run.to_dict(), "frames": len(frames), "moves": list(moves), "words": words,
        "reason": trace and trace.reason, "seconds": trace and trace.seconds,
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / "_done.ok").write_text("ok\n", encoding="utf-8")
    return case.id


def solve(model: UnifiedModel, problem: maze.Problem, fit: foreign.Fit, settings: Settings, most: int | None) -> Trace:
    """A run with self-critique, ended after ``most`` of the benchmark's frames; the answer is asked for however it ended.

    Pictures that only grey dead ends are frames of ours and none of the benchmark's.
    """
    task, trace = TASKS["maze"], None
    with closing(DrawAgent(model, task, settings).events(problem)) as events:
        for event in events:
            trace = fold([event]) if trace is None else trace.add(event)
            if most is not None and isinstance(event, Kept) and len(foreign.walk(fit, trace.pictures())) >= most:
                seconds = sum(step.seconds for step in trace.steps)
                trace = trace.add(Finished("step limit", f"{most} pictures are drawn, as many as the truth has.", seconds))
                break
    assert trace is not None
    if trace.score is None:
        asks = prompts.wording(task, model.capabilities)
        asked = asks.answers(problem, trace.start, moves_drawn(trace, asks))
        words = " ".join(write(model, leg, options_type(model)()) for leg in asked)
        trace = trace.add(Answered(words, asks.parse_answer(words)))
    return trace


def moves_drawn(trace: Trace, asks: prompts.Wording) -> list[str]:
    """The moves of the kept pictures: what the thought decided, or what a redrawn picture shows."""
    kept = [item for item in trace.rounds() if item.accepted]
    between = asks.task.move_between or (lambda before, after: None)
    moves = [asks.parse_move(item.thought) if item.number == 0 else between(item.before, item.image) for item in kept]
    return [move for move in moves if move]


def write_lists(cases: Sequence[Case], out: Path, run: SuiteRun) -> None:
    """The suite's ``summary.json`` and ``manifest.csv``."""
    rows = []
    for case in cases:
        folder = case_folder(out, case)
        data = read_result(folder)
        rows.append({
            "id": case.id, "case": folder.name, "done": (folder / "_done.ok").exists(), "frames": data.get("frames", 0),
            "moves": " ".join(data.get("moves", [])), "reason": data.get("reason") or "", "seconds": data.get("seconds"),
        })  # fmt: skip
    done = sum(row["done"] for row in rows)
    summary = {"suite": "maze", "run": run.to_dict(), "total": len(rows), "done": done, "per_item": rows}
    (out / "maze").mkdir(parents=True, exist_ok=True)
    (out / "maze" / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    with (out / "maze" / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["id"])
        writer.writeheader()
        writer.writerows(rows)
