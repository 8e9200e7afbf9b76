"""Measure a model: ``python -m agents.evaluate --task maze --split test --n 200 --json OUT`` for one task, n problems a
group (size of board, kind of question); ``--tasks maze,geometry,compose --n 300`` for several, n problems of each.

With ``--suite uni-mmmu`` it runs and scores that benchmark instead (``agents.uni_mmmu``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from agents import uni_mmmu, uni_mmmu_score
from agents.exams import part, sit
from agents.measure import CONDITIONS, EVERY, FURTHER, Exam
from agents.parallel import Load, run_all
from agents.run import WHICH, load_model
from agents.summary import suite_tables, tables
from agents.tasks import TASKS, Group, Task
from unimm.errors import BadInput, UnimmError
from unimm.models import MODELS, PACKED, SHIPPED, folder_of

VERSION = 1


def parser() -> argparse.ArgumentParser:
    as_it_is = argparse.RawDescriptionHelpFormatter
    flags = argparse.ArgumentParser(prog="python -m agents.evaluate", description=__doc__, formatter_class=as_it_is)
    both, own, suite = flags, flags.add_argument_group("problems of our own"), flags.add_argument_group("a benchmark (--suite)")
    both.add_argument("--model", default="star-tiny", help=f"{WHICH} (default: star-tiny)")
    both.add_argument("--seed", type=int, default=0, help="which problems are drawn, and the seed of the drawings (default: 0)")
    both.add_argument("--jobs", type=int, help="processes, each with a model of its own (default: 2; 1 for larger models)")
    both.add_argument("--threads", type=int, default=1, help="threads of each process: more make a picture faster (default: 1)")
    both.add_argument("--json", type=Path, help="file for all numbers and records")
    both.add_argument("--temperature", type=float, default=0.0, help="of the first drawing of each picture (default: 0)")
    own.add_argument("--task", choices=sorted(TASKS), default="maze", help="one task, --n problems of each of its groups (default: maze)")
    both.add_argument("--tasks", help="several, such as maze,geometry: --n problems of each, all conditions; of a benchmark, its parts")
    own.add_argument("--split", default="test", help="train, val or test: the layouts of test are held out (default: test)")
    own.add_argument("--n", type=int, default=200, help="problems PER GROUP, with --tasks PER TASK, or cases of --make-data (default: 200)")
    own.add_argument("--sizes", type=_groups, help="groups of one task, such as 6,8 (default: all that the model is trained for)")
    own.add_argument("--conditions", type=_conditions,
                     help=f"some of {','.join(EVERY)} (default: {','.join(CONDITIONS)}; with --tasks all)")
    own.add_argument("--further-n", type=int, help=f"of these, so many are run under {','.join(FURTHER)} too (default: all)")
    own.add_argument("--critic-n", type=int, default=1000, help="right pictures for the critic, twice as many wrong ones (default: 1000)")
    own.add_argument("--thought-n", type=int, default=300, help="pictures drawn after a thought that is not the right one (default: 300)")
    own.add_argument("--style", help="boards of one style only, such as loops: several routes (default: the styles of training)")
    own.add_argument("--resume", action="store_true", help="go on with a run that was cut")
    suite.add_argument("--suite", choices=["uni-mmmu"], help="run this benchmark")
    suite.add_argument("--data", type=Path, help="the benchmark's folder data, or the one that holds it")
    suite.add_argument("--mode", choices=uni_mmmu.MODES, default="free",
                       help="free: the model decides when it has arrived (default); oracle-length: as many pictures as the truth has")
    suite.add_argument("--out", type=Path, help="folder for the benchmark's output layout; finished cases in it are not run again")
    suite.add_argument("--limit", type=int, help="only the first so many cases")
    suite.add_argument("--score-only", action="store_true", help="run nothing, score what is in --out (of any model)")
    suite.add_argument("--make-data", type=Path, metavar="DIR", help="draw --n held-out boards in the benchmark's format, and stop")
    return flags


def _groups(text: str) -> tuple[Group, ...]:
    return tuple(dict.fromkeys(int(part) if part.isdecimal() else part for part in text.split(",") if part))


def _conditions(text: str) -> tuple[str, ...]:
    names = [name for name in text.split(",") if name]
    if set(names) - set(EVERY):
        raise argparse.ArgumentTypeError(f"conditions are some of {','.join(EVERY)}, not {text!r}")
    return tuple(name for name in EVERY if name in names)


def exams_of(given: argparse.Namespace) -> dict[str, Exam]:
    """The exams that the flags ask for, by task; raises ``BadInput``."""
    names = [given.task] if given.tasks is None else list(dict.fromkeys(name for name in given.tasks.split(",") if name))
    if not names or set(names) - set(TASKS):
        raise BadInput(f"The tasks are {', '.join(TASKS)}, not {given.tasks!r}.")
    if min(given.n, given.critic_n, given.thought_n, given.further_n or 0) < 0 or not 0 <= given.seed < 2**31:
        raise BadInput("--n, --further-n, --critic-n and --thought-n are 0 or more, and --seed is 0 to 2147483647.")
    if min(given.jobs, given.threads) < 1:
        raise BadInput("--jobs and --threads are at least 1.")
    if given.sizes and len(names) > 1:
        raise BadInput("--sizes names groups of one task. Leave it out, or measure the tasks one by one.")
    return {name: _exam(given, TASKS[name]) for name in names}


def _exam(given: argparse.Namespace, task: Task) -> Exam:
    if given.split not in task.splits:
        raise BadInput(f"The task {task.name} has the splits {', '.join(task.splits)}, not {given.split!r}.")
    spread = given.tasks is not None
    exam = Exam(
        task.name, given.split, given.n, given.sizes or task.groups, given.seed, given.temperature,
        (EVERY if spread else CONDITIONS) if given.conditions is None else given.conditions, given.critic_n, given.thought_n, given.style,
        spread, given.further_n,
    )  # fmt: skip
    exam.settings("self")  # refuses a temperature out of bounds
    for size in exam.sizes:
        task.problem(exam.split, 0, size, exam.style)  # refuses a group or a style that the task does not have
    return exam


def weights_hash(model: str) -> str:
    """Hash over the files of a model folder, so that numbers name the weights that they belong to; "" where there is no folder.

    Packed files count as what is in them: packing changes no weight.
    """
    known, _, given = model.partition("=")
    folder = Path(given) if given else folder_of(known) if known.partition("@")[0] in MODELS else Path(model)
    digest = hashlib.sha256()
    kinds = ("*.safetensors", f"*.safetensors{PACKED}", "*.pt", "*.bin", "config.json", "tokenizer.json")
    files = sorted(path for kind in kinds for path in folder.rglob(kind)) if folder.is_dir() else []
    for path in files:
        digest.update(f"{str(path.relative_to(folder)).removesuffix(PACKED)}\0".encode() + _file_hash(path))
    return digest.hexdigest() if files else ""


def _file_hash(path: Path) -> bytes:
    digest = hashlib.sha256()
    with lzma.open(path) if path.suffix == PACKED else path.open("rb") as file:
        while piece := file.read(2**22):
            digest.update(piece)
    return digest.digest()


def circumstances(given: argparse.Namespace) -> dict[str, Any]:
    """What a number in a report needs beside it: command, weights, versions, machine."""
    versions = {name: _version(name) for name in ("torch", "transformers", "numpy", "pillow", "langchain-core")}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "command": shlex.join(["python", "-m", "agents.evaluate", *(flag for flag in given.arguments if flag != "--resume")]),
        "model": {"name": given.model, "sha256": weights_hash(given.model)},
        "versions": {"python": platform.python_version(), **versions},
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system(), "jobs": given.jobs,
                    "threads_a_job": given.threads, "load_before": load},
    }  # fmt: skip


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def found(given: argparse.Namespace, load: Load, around: dict[str, Any]) -> None:
    """Where a model has no files, load it here first: one clear error at once, instead of one from every process."""
    if not around["model"]["sha256"]:
        load(given.model)


def run_exams(given: argparse.Namespace, load: Load, show: Callable[[str], None]) -> None:
    """Measure, print the tables, write the file."""
    exams = exams_of(given)
    around = circumstances(given)
    if given.resume and given.json is None:
        raise BadInput("--resume needs the --json file of the run that was cut.")
    found(given, load, around)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
    unfinished = given.json.with_name(given.json.name + ".partial.jsonl") if given.json else None
    head = {"version": VERSION, "exams": {task: exam.to_dict() for task, exam in exams.items()}, "model": around["model"]}
    records = sit(exams, given.model, given.jobs, load, unfinished, head, given.resume, given.threads)
    parts = {task: part(exam, records[task]) for task, exam in exams.items()}
    for task, exam in exams.items():
        if exam.conditions:
            show(f"{task}, split {exam.split}, seed {exam.seed}: {_found_words(exam, parts[task]['n_found'])}.")
    show(f"Model {given.model} ({around['model']['sha256'][:12] or 'no weights'}), {given.jobs} processes of {given.threads} threads.\n")
    summaries = {task: row["summary"] for task, row in parts.items()}
    show(tables(summaries[given.task]) if given.tasks is None else suite_tables(summaries))
    if given.json and unfinished:
        numbers = parts[given.task] if given.tasks is None else {"tasks": parts}
        data = {"version": VERSION, **around, "seed": given.seed, "n": given.n, **numbers}
        given.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        unfinished.unlink(missing_ok=True)
        show(f"\nwritten: {given.json}")


def _found_words(exam: Exam, real: dict[str, dict[str, int]]) -> str:
    """How many problems were asked for and how many different ones were found."""
    if exam.spread:
        return f"{sum(row['problems'] for row in real.values())} problems of {len(real)} groups"
    boards = all(isinstance(size, int) for size in exam.sizes)
    named = {size: f"{size}x{size}" if boards else size for size in real}
    counts = ", ".join(f"{named[size]}: {row['problems']} of {row['layouts']} layouts" for size, row in real.items())
    return f"{exam.n} problems PER {'BOARD SIZE' if boards else 'GROUP'}; different ones found: {counts}"


def run_suite(given: argparse.Namespace, load: Load, show: Callable[[str], None]) -> None:
    """Run and score the benchmark, or draw data for it."""
    if given.make_data:
        cases = uni_mmmu.make_data(given.make_data, given.n, given.seed)
        show(f"{len(cases)} held-out boards drawn in the benchmark's format: {given.make_data}/data/maze")
        return
    if given.data is None or given.out is None:
        raise BadInput("--suite uni-mmmu needs --data (the benchmark's folder) and --out (a folder for the results).")
    if given.limit is not None and given.limit < 1:
        raise BadInput("--limit is at least 1.")
    if given.tasks not in (None, "maze"):
        raise BadInput(f"Of the benchmark only the part 'maze' is covered, not {given.tasks!r}.")
    around = circumstances(given)
    run = uni_mmmu.SuiteRun(given.model, around["model"]["sha256"], given.mode, given.seed, given.temperature)
    cases = uni_mmmu.load_cases(given.data)[: given.limit]
    if not given.score_only:
        found(given, load, around)
        todo = uni_mmmu.unfinished(cases, given.out, run)
        with tqdm(total=len(cases), initial=len(cases) - len(todo), unit="case", desc=f"uni-mmmu maze {given.mode}") as bar:
            for _ in run_all(partial(uni_mmmu.run_case, run, given.out), todo, given.jobs, load, given.model, given.threads):
                bar.update()
        uni_mmmu.write_lists(cases, given.out, run)
    scores = uni_mmmu_score.score_folder(cases, given.out)
    show(uni_mmmu_score.table(scores, "scored only" if given.score_only else given.mode))
    if given.json:
        how = {"mode": None} if given.score_only else run.to_dict()
        given.json.parent.mkdir(parents=True, exist_ok=True)
        data = {"version": VERSION, "suite": "uni-mmmu", "task": "maze", **around, **how, **scores}
        given.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        show(f"written: {given.json}")


def main(arguments: Sequence[str] | None = None, load: Load = load_model) -> int:
    """The command; returns the exit status: 0 measured, 2 could not run."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = parser().parse_args(arguments, argparse.Namespace(arguments=arguments))
    given.jobs = given.jobs if given.jobs is not None else 2 if given.model in SHIPPED else 1
    try:
        (run_suite if given.suite or given.make_data else run_exams)(given, load, print)
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ncut; what was measured is kept, and --resume goes on with it (a benchmark goes on by itself)", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
