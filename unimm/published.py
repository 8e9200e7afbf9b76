"""Seconds and memory of the published models at their size, with random bf16 weights: ``python -m unimm.published all --json OUT``.

For a machine with a GPU. Each model is made, answers a question about a picture, draws one and edits one (or redraws it,
where it cannot edit) with its published settings; ``--size toy`` tries the command anywhere. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unimm.document import Document, Image, Text
from unimm.errors import BadInput, UnimmError
from unimm.memory import give_back, guarded
from unimm.model import Options, UnifiedModel, Want
from unimm.models import find
from unimm.random_models import MAKERS, Where, make
from unimm.timing import peak_memory_gb, this_machine

WORDS = 32
"""Tokens of the answer that is timed."""


def picture(side: int) -> Image:
    """A picture of soft colours with ``side`` pixels a side."""
    ramp = bytes(255 * at // side for at in range(side))
    rows = (b"".join(bytes((ramp[x], ramp[y], 128)) for x in range(side)) for y in range(side))
    return Image(side, side, b"".join(rows))


def tasks(name: str, toy: bool) -> dict[str, tuple[Document, Want]]:
    """What is timed: a question about a picture, a picture from words, and a change of a picture."""
    side = 64 if toy else 512
    seen = picture(side)
    edited = Document().user(seen, Text("Make the sky green."))
    if not find(name).capabilities.edit:
        edited = Document().user(Text("A house by a lake.")).assistant(seen).user(Text("The sky should be green."))
    return {
        "understand": (Document().user(seen, Text("What does the picture show?")), "text"),
        "generate": (Document().user(Text("A red house by a lake, in the evening.")), "image"),
        "edit": (edited, "image"),
    }  # fmt: skip


def options_of(name: str) -> Options:
    """The published settings of a model, without a thought, and a short answer."""
    module, _, own = find(name).options.partition(":")
    options = getattr(import_module(module), own)()
    changed: dict[str, Any] = {"think": False, "max_tokens": WORDS, "speculative": True}
    return replace(options, **{key: value for key, value in changed.items() if key in {row.name for row in fields(options)}})


def measure(name: str, where: Where) -> dict[str, Any]:
    """Seconds to make a model and for each task, and the most memory meanwhile, as plain data."""
    gpu = where.device.startswith("cuda")
    if gpu:
        torch.cuda.reset_peak_memory_stats(where.device)
    row: dict[str, Any] = {"model": name, "size": where.size, "device": _device(where), "dtype": str(where.dtype).removeprefix("torch.")}
    with guarded(f"{name} at its {where.size} size"):
        began = time.perf_counter()
        model = make(name, where)
        _wait(gpu)
        row["seconds_to_make"] = time.perf_counter() - began
        row["parameters"] = sum(parameter.numel() for module in modules_of(model) for parameter in module.parameters())
        row["edits"] = find(name).capabilities.edit
        for task, (document, want) in tasks(name, where.toy).items():
            began = time.perf_counter()
            *_, last = model.stream(document, want, options_of(name))
            _wait(gpu)
            row[f"seconds_{task}"] = time.perf_counter() - began
            row[f"stats_{task}"] = {key: value for key, value in last.stats.items() if key != "seconds"}
    row["peak_gb"] = torch.cuda.max_memory_allocated(where.device) / 1e9 if gpu else peak_memory_gb()
    return row


def modules_of(model: UnifiedModel) -> list[nn.Module]:
    """The networks that a model holds, wherever it keeps them, each once."""
    found: dict[int, nn.Module] = {}
    waiting, seen = [model], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, nn.Module):
            found[id(one)] = one
        elif isinstance(one, dict):
            waiting += one.values()
        elif type(one).__module__.startswith("unimm.") and hasattr(one, "__dict__"):
            waiting += vars(one).values()
    inner = {id(part) for module in found.values() for part in module.modules() if part is not module}
    return [module for key, module in found.items() if key not in inner]


def _wait(gpu: bool) -> None:
    if gpu:
        torch.cuda.synchronize()


def _device(where: Where) -> str:
    return torch.cuda.get_device_name(where.device) if where.device.startswith("cuda") else where.device


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The measurements as a Markdown table; a model that did not run has its reason in its row."""
    lines = ["| model | parameters | made in | understand | generate | edit | peak memory |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['model']} | {row['error']} | | | | | |")
            continue
        seconds = [f"{row[key]:.1f} s" for key in ("seconds_to_make", "seconds_understand", "seconds_generate", "seconds_edit")]
        seconds[-1] += "" if row["edits"] else " (redraw)"
        lines.append(f"| {row['model']} | {row['parameters'] / 1e9:.2f} B | {' | '.join(seconds)} | {row['peak_gb']:.1f} GB |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """The command; 0 all ran, 1 one did not, 2 it could not start."""
    plain = argparse.RawDescriptionHelpFormatter
    flags = argparse.ArgumentParser(prog="python -m unimm.published", description=__doc__, formatter_class=plain)
    flags.add_argument("model", help=f"all, or one of: {', '.join(MAKERS)}")
    flags.add_argument("--json", type=Path, help="file for the numbers")
    flags.add_argument("--size", choices=("published", "toy"), default="published", help="toy tries the command on any machine")
    flags.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    given = flags.parse_args(arguments)
    names = list(MAKERS) if given.model == "all" else [given.model]
    rows = []
    try:
        if not set(names) <= set(MAKERS):
            raise BadInput(f"There is no published model {given.model!r}. Choose all, or one of: {', '.join(MAKERS)}.")
        for name in names:
            try:
                rows.append(measure(name, Where(given.size, given.device, torch.bfloat16)))
            except UnimmError as error:
                rows.append({"model": name, "error": str(error)})
            give_back()
            print(table(rows[-1:]).splitlines()[-1], file=sys.stderr)
        command = f"python -m unimm.published {given.model} --size {given.size} --device {given.device}"
        show(f"`{command}`\n\n{table(rows)}")
        if given.json:
            given.json.write_text(json.dumps({"command": command, "rows": rows, **this_machine()}, indent=1) + "\n", encoding="utf-8")
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if any("error" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
