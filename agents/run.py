"""One run in the terminal: ``python -m agents.run --task maze --seed 7 --out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

from agents.events import Answered, Critiqued, Event, Finished, Kept, RunStarted, StepDone, StepStarted
from agents.export import gif, strip
from agents.loop import DrawAgent
from agents.settings import Settings
from agents.tasks import TASKS, Group
from agents.trace import Trace, fold
from unimm.document import Text
from unimm.errors import BadInput, UnimmError
from unimm.events import ImagePreview
from unimm.model import UnifiedModel
from unimm.models import shipped_for

EMBEDDED = "star-tiny"
WHICH = "a model's name as `python -m unimm.models` lists it, NAME=FOLDER, or a folder with weights of a STAR"
Print = Callable[[str], None]


def parser() -> argparse.ArgumentParser:
    """The command's flags; those of the run are made from ``Settings``."""
    flags = argparse.ArgumentParser(prog="python -m agents.run", description="Solve one problem by drawing, in the terminal.")
    flags.add_argument("--task", choices=sorted(TASKS), default="maze")
    flags.add_argument("--size", "--group", type=_group, help="size or group of the problem, such as 6 (default: the task's choice)")
    flags.add_argument("--split", default="test", help="which problems: train, val or test (default: test)")
    flags.add_argument("--index", type=int, help="which problem of the split (default: the seed)")
    flags.add_argument("--model", help=f"{WHICH} (default: the one of this project that was taught the task)")
    flags.add_argument("--out", type=Path, required=True, help="folder for trace.json, strip.png and run.gif")
    kinds = get_type_hints(Settings)
    for row in fields(Settings):
        name, kind, text = f"--{row.name.replace('_', '-')}", kinds[row.name], f"{row.metadata.get('help', '')} (default: {row.default})"
        if kind is bool:
            flags.add_argument(name, action=argparse.BooleanOptionalAction, default=row.default, help=row.metadata["help"])
        elif "choices" in row.metadata:
            flags.add_argument(name, choices=row.metadata["choices"], default=row.default, help=text)
        else:
            flags.add_argument(name, type=kind, default=row.default, help=text)
    return flags


def _group(text: str) -> Group:
    return int(text) if text.isdecimal() else text


def load_model(name: str) -> UnifiedModel:
    """A model as ``--model`` names it; raises ``BadInput``, ``MissingWeights`` or ``ModelUnavailable``."""
    import unimm  # the weights' library takes seconds to import, which --help should not
    from unimm import star

    known, _, folder = name.partition("=")
    if known == EMBEDDED and not folder:
        return star.load()
    if not folder and Path(name).is_dir():
        return star.load(name)
    return unimm.load(known, folder or None)


def report(events: Iterator[Event], show: Print, progress: Print) -> Trace:
    """Print a run as it goes: one line a step, previews as a line that is written over; returns its trace."""
    trace: Trace | None = None
    for event in events:
        trace = fold([event]) if trace is None else trace.add(event)
        match event:
            case RunStarted():
                show(f"{event.task} {event.problem.get('id', '')} with {event.model}, about {event.total} pictures")
            case StepStarted():
                progress(f"{event.kind}: {event.about}")
            case ImagePreview():
                progress(f"{trace.steps[-1].kind}: {trace.steps[-1].about}, {event.done}/{event.total}")
            case Critiqued():
                show(f"{trace.steps[-1].frame:>4}  {event.by:<8} {event.words}  ({event.confidence:.2f})")
            case StepDone(part=part):
                step = trace.steps[event.index]
                if step.kind != "critique":
                    what = part.text if isinstance(part, Text) else f"{len(event.changed)} cells changed"
                    show(f"{step.frame:>4}  {step.kind:<8} {what}  ({event.seconds:.2f} s)")
            case Kept() if event.reason != "satisfied":
                show(f"      kept, {event.reason}")
            case Answered() if event.score is not None:
                show(f"      program: {'correct' if event.score.get('solved') else 'not correct'}")
            case Finished():
                show(f"{event.reason}: {event.words}  ({event.seconds:.1f} s)")
    if trace is None:
        raise BadInput("The run gave no events.")
    return trace


def write(trace: Trace, out: Path) -> None:
    """trace.json, strip.png and run.gif."""
    out.mkdir(parents=True, exist_ok=True)
    trace.save(out / "trace.json")
    strip(trace).save(out / "strip.png")
    (out / "run.gif").write_bytes(gif(trace))


def main(arguments: Sequence[str] | None = None, load: Callable[[str], UnifiedModel] = load_model) -> int:
    """The command; returns the exit status: 0 solved, 1 not solved, 2 could not run."""
    given = parser().parse_args(arguments)
    live = sys.stdout.isatty()

    def show(line: str) -> None:
        print(f"\r\x1b[K{line}" if live else line, flush=True)

    def progress(line: str) -> None:
        if live:
            print(f"\r\x1b[K{line}", end="", flush=True)

    try:
        settings = Settings(**{row.name: getattr(given, row.name) for row in fields(Settings)})
        task = TASKS[given.task]
        problem = task.problem(given.split, settings.seed if given.index is None else given.index, given.size)
        name = given.model or shipped_for(given.task)
        progress(f"loading {name}")
        trace = report(DrawAgent(load(name), task, settings).events(problem), show, progress)
        write(trace, given.out)
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(f"written: {given.out}/trace.json strip.png run.gif")
    return 0 if trace.score and trace.score.get("solved") else 1


if __name__ == "__main__":
    sys.exit(main())
