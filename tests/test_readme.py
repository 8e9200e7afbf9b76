"""README and model card against what is there: the tree, the commands, and every table against the file that it is made from.

A table stands between ``<!-- FILE -->`` and ``<!-- /FILE -->``; FILE is a file of results, ``training.json``, or ``weights``
for the model's own files.
"""

from __future__ import annotations

import json
import lzma
import re
import shlex
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import pytest

from agents import evaluate, run
from agents.statistics import Share, wilson
from agents.summary import NAMES, suite_tables, tables
from agents.tasks import TASKS
from agents.trace import Trace
from unimm.models import PACKED

ROOT = Path(__file__).resolve().parent.parent
SCORES, FAILURES = ROOT / "assets" / "scores", ROOT / "assets" / "failures"
MODELS = {"card": ROOT / "assets" / "star-tiny"}
"""Card -> the folder of its model."""
CARDS = {card: (folder / "README.md").read_text(encoding="utf-8") for card, folder in MODELS.items()}
DOCUMENTS = {"README.md": (ROOT / "README.md").read_text(encoding="utf-8"), **CARDS}
README = DOCUMENTS["README.md"]
STAGES = ("vq", "vq_decoder", "understanding", "inspection", "drawing", "unified", "decoder")


# --- what a file says, as tables


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def suite(data: dict[str, Any]) -> str:
    """Several tasks, and how far their pictures follow thoughts that are not the right ones."""
    summaries = {task: part["summary"] for task, part in data["tasks"].items()}
    thoughts = (tables({"boards": {}, "critic": None, "thoughts": summary["thoughts"]}) for summary in summaries.values())
    return "\n\n".join(filter(None, (suite_tables(summaries), *thoughts)))


def boards(data: dict[str, Any]) -> str:
    """One task: everything, or, where nothing but runs was measured, success a group and condition."""
    summary = data["summary"]
    if summary["critic"] or summary["thoughts"]:
        return tables(summary)
    names = list(next(iter(summary["boards"].values())))
    rows = [
        (f"{size}x{size}" if size.isdecimal() else size, str(conditions[names[0]]["n"]),
         *(str(Share(**conditions[name]["success"])) for name in names))
        for size, conditions in summary["boards"].items()
    ]  # fmt: skip
    return markdown(("group", "n", *(NAMES[name] for name in names)), rows)


def benchmark(data: dict[str, Any]) -> str:
    keys = ("image_sample", "image_step", "text_sample", "text_step")
    head = ("n", "image, whole samples %", "image, steps %", "text, whole samples %", "text, steps %")
    return markdown(head, [(str(data["n"]), *(f"{100 * data[key]:.1f}" for key in keys))])


def races(data: dict[str, Any]) -> str:
    rows = [
        (race["model"], race["what"], f"{race['slow']}, {race['slow_seconds']:.2f} s", f"{race['fast']}, {race['fast_seconds']:.2f} s",
         f"{race['ratio']:.1f}", race["contract"])
        for race in data["races"]
    ]  # fmt: skip
    return markdown(("model", "what", "obvious way", "ours", "times as fast", "results"), rows)


def speed(data: dict[str, Any]) -> str:
    drawn, read = data["editing"], data["prefixes"]
    parts = (
        (f"tokens of {drawn['pictures']} pictures", "token by token", drawn["seconds_token_by_token"], "speculative",
         drawn["seconds_speculative"], drawn["ratio"], drawn["identical"]),
        ("the same, with previews and pixels", "token by token", drawn["stream_seconds_token_by_token"], "speculative",
         drawn["stream_seconds_speculative"], drawn["stream_ratio"], drawn["identical"]),
        (f"reading {read['documents']} questions of a run", "read anew", read["seconds_off"], "remembered prefixes", read["seconds_on"],
         read["ratio"], read["identical"]),
    )  # fmt: skip
    rows = [
        (what, f"{slow}, {old:.2f} s", f"{fast}, {new:.2f} s", f"{ratio:.1f}", "identical" if same else "not identical")
        for what, slow, old, fast, new, ratio, same in parts
    ]
    return markdown(("what", "obvious way", "ours", "times as fast", "results"), rows)


def legible(data: dict[str, Any]) -> str:
    """How often a reader finds in a right picture all that should be there, by what made its pixels."""
    rows = [
        (task, str(row["n"]), str(wilson(row["vq"], row["n"])), str(wilson(row["decoder"], row["n"])),
         str(row["vq_alone"]), str(row["decoder_alone"]))
        for task, row in data["read"].items()
    ]  # fmt: skip
    return markdown(("task", "n", "VQ's pixels %", "decoder's %", "only the VQ's", "only the decoder's"), rows)


def training(data: dict[str, Any]) -> str:
    stages = sorted(data["stages"].items(), key=lambda item: STAGES.index(item[0]))
    rows = [
        (name, *(f"{row[key]:,}" if key in row else "-" for key in ("minutes", "steps", "examples")),
         ", ".join(f"{key} {value:g}" for key, value in row.get("held_out", {}).items()))
        for name, row in stages
    ]  # fmt: skip
    return markdown(("stage", "minutes", "steps", "examples", "last look at the split val"), rows)


def weights(folder: Path) -> str:
    """Parameters and size of every part, from the heads of the weight files."""
    parts = {
        "base: understands, thinks, judges, answers": ("base.", "seen_places."), "VQ: pictures to tokens and back": ("pixel_encoder.",),
        "inspector: looks for damage": ("inspector.",), "decoder: sharpens what was drawn": ("lumina.",), "stack: draws": ("",),
    }  # fmt: skip
    counts, bytes_ = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
    for path in sorted(folder.glob("*.safetensors*")):
        if path.suffix == ".json":
            continue
        with lzma.open(path) if path.suffix == PACKED else path.open("rb") as file:
            head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        for name, entry in head.items():
            if name != "__metadata__":
                part = next(part for part, prefixes in parts.items() if name.startswith(prefixes))
                counts[part] += prod(entry["shape"])
                bytes_[part] += entry["data_offsets"][1] - entry["data_offsets"][0]
    rows = [(part, f"{counts[part]:,}", f"{bytes_[part] / 1e6:.1f}") for part in parts if counts[part]]
    return markdown(("part", "parameters", "MB"), [*rows, ("all", f"{sum(counts.values()):,}", f"{sum(bytes_.values()) / 1e6:.1f}")])


def failures(folder: Path) -> str:
    """A line for every failed run that is kept, with its pictures and its trace."""
    lines = []
    for path in sorted(folder.glob("*/trace.json")):
        trace = Trace.load(path)
        task, fault = TASKS[trace.task], (trace.score or {}).get("fault")
        asked = task.request(task.from_dict(trace.problem))
        why = f"wrong in a picture: {task.faults.get(fault, fault)}" if fault else "no picture wrong, but not all drawn or answered rightly"
        why = why if trace.score else f"it ended without an answer: {trace.words.rstrip('.')}"
        here = f"../{folder.name}/{path.parent.name}"
        lines.append(f"- [{path.parent.name}]({here}/strip.png) ([trace]({here}/trace.json)){f': “{asked}”' if asked else ''}; {why}.")
    return "\n".join(lines)


MADE: dict[str, Callable[[Any], str]] = {
    "tasks": suite, "suite": benchmark, "races": races, "editing": speed, "stages": training, "summary": boards,
    "read": legible,
}  # fmt: skip
"""A key that files of a kind have -> what is made from them."""


def data_of(name: str, document: str) -> Any:
    return json.loads(((MODELS[document] if name == "training.json" else SCORES) / name).read_text(encoding="utf-8"))


def made_from(name: str, document: str) -> str:
    if name in ("weights", "failures"):
        return weights(MODELS[document]) if name == "weights" else failures(FAILURES)
    data = data_of(name, document)
    return next(make for key, make in MADE.items() if key in data)(data)


# --- what the documents show


def blocks(text: str) -> dict[str, str]:
    """FILE -> what stands between its marks."""
    return {found[1]: found[2] for found in re.finditer(r"<!-- ([\w.-]+\.json|weights|failures) -->\n(.*?)<!-- /\1 -->", text, re.DOTALL)}


def paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


SHOWN = [(document, name) for document, text in DOCUMENTS.items() for name in blocks(text)]


@pytest.mark.parametrize(("document", "name"), SHOWN)
def test_tables_are_those_of_their_files(document: str, name: str) -> None:
    shown, made = paragraphs(blocks(DOCUMENTS[document])[name]), paragraphs(made_from(name, document))
    found, wanted = ([part for part in parts if part.startswith("|")] for parts in (shown, made))
    if document in MODELS and name in blocks(README):
        assert found and all(part in wanted for part in found), "the card shows some of the README's tables"
    else:
        assert found == wanted and all(part in shown for part in made)
    if name.endswith(".json") and (command := data_of(name, document).get("command")):
        assert command in blocks(README)[name]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_table_is_from_nowhere(document: str) -> None:
    text = DOCUMENTS[document]
    for name, block in blocks(text).items():
        assert f"<!-- {name} -->\n{block}" in text
        text = text.replace(block, "")
    assert not [line for line in text.splitlines() if line.lstrip().startswith("|")]
    assert not set(re.findall(r"<!-- /(\S+) -->", text)) - set(blocks(DOCUMENTS[document])) - {"results", "scores", "gallery"}


@cache
def shipped() -> set[str]:
    return {evaluate.weights_hash(folder.name) for folder in MODELS.values()}


def measured(path: Path) -> str | None:
    """Which weights a file is about; None where it does not say, for it is about speed."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return data.get("sha256") or (data["model"]["sha256"] if isinstance(data.get("model"), dict) else None)


def test_the_tables_are_of_the_shipped_weights() -> None:
    shown = set(blocks(README))
    assert shown and all(set(blocks(text)) >= {"training.json", "weights"} for text in CARDS.values())
    for path in SCORES.glob("*.json"):
        if path.name in shown:
            assert measured(path) in (None, *shipped()), f"{path.name} is of other weights: measure again, or drop its table"
        else:
            assert measured(path) not in shipped(), f"{path.name} is of the shipped weights, and the README does not show it"


def test_every_race_was_won() -> None:
    rows = data_of("races.json", "README.md")["races"]
    assert len(rows) > 15 and all(race["met"] for race in rows)


def test_the_failures_that_are_shown_are_failures() -> None:
    folders = sorted(path.parent for path in FAILURES.glob("*/trace.json"))
    shown = "".join(blocks(text).get("failures", "") for text in CARDS.values())
    assert len(folders) == len(shown.strip().splitlines())
    for folder in folders:
        trace = Trace.load(folder / "trace.json")
        task = TASKS[trace.task]
        assert not (trace.score or {}).get("solved") and (folder / "strip.png").is_file()
        if trace.score:  # none where a run ended without an answer
            assert task.score(task.from_dict(trace.problem), trace.pictures(), trace.moves).to_dict() == trace.score


# --- the rest of the README


def commands(module: str) -> list[list[str]]:
    """The flags of every command in the README that runs a module."""
    fences = chain.from_iterable(re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for text in DOCUMENTS.values())
    lines = (line.partition("  #")[0].strip() for fence in fences for line in fence.splitlines())
    return [shlex.split(line)[3:] for line in lines if line.startswith(f"python -m {module} ")]


def test_commands_for_runs_are_of_problems_that_there_are() -> None:
    given = [run.parser().parse_args(flags) for flags in commands("agents.run")]
    assert {flags.task for flags in given} == set(TASKS)
    for flags in given:
        assert TASKS[flags.task].problem(flags.split, flags.seed, flags.size).image.width == 256


def test_commands_for_evaluation_are_understood() -> None:
    given = [evaluate.parser().parse_args([*flags, "--jobs", "1"]) for flags in commands("agents.evaluate")]
    assert any(flags.tasks == ",".join(TASKS) for flags in given)
    for flags in given:
        assert flags.suite or flags.make_data or evaluate.exams_of(flags)


def test_every_file_of_the_tree_is_there() -> None:
    folder, seen = ROOT, 0
    for line in README.split("## Where everything is", 1)[1].split("```\n", 1)[1].split("```", 1)[0].splitlines():
        indent = len(line) - len(line.lstrip())
        names = [name for name in line.split() if re.fullmatch(r"[\w.]+(/|\.py)", name)]
        for name in names[: 1 if line.split()[0].endswith("/") and indent == 0 else None]:
            if indent == 0:
                folder = ROOT
            assert (folder / name).exists(), f"{name} is in the README and not in the project"
            seen += 1
            if indent == 0 and name.endswith("/"):
                folder = ROOT / name
    assert seen > 40


def test_the_front_matter_is_a_spaces() -> None:
    head = README.split("---\n")[1]
    keys = dict(line.split(": ", 1) for line in head.strip().splitlines())
    assert keys["sdk"] == "gradio" and (ROOT / keys["app_file"]).is_file()
    assert len(keys["short_description"]) <= 60


def test_no_tracked_file_is_too_large_to_push() -> None:
    files = [path for folder in ("assets", "tests", "agents", "unimm") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 10_000_000
    shards = [path for path in files if path.name.endswith((".safetensors", f".safetensors{PACKED}")) and "assets" in path.parts]
    assert sum(path.stat().st_size for path in shards) < 40_000_000
