"""Time what makes models fast, each against the obvious way: ``python -m unimm.bench MODEL|all [--json OUT]``.

Both sides of a race run in turns in one process, and its contract (identical results, or a measured difference) is
asserted. MODEL is a family or a model's name (random weights at a middle size; nothing is loaded), ``star-tiny`` or a
folder with the weights of one like it (recorded runs), or ``all``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unimm.errors import BadInput, UnimmError
from unimm.models import MODELS
from unimm.timing import Race, peak_memory_gb, this_machine

FAMILIES = ("star", "bagel", "mmada", "janus", "emu3")
TRACES = Path(__file__).parent.parent / "assets" / "traces"

TARGETS: Mapping[tuple[str, str], float] = {
    ("star", r"edit, 10% of tokens"): 3.0, ("star", r"step 20 of a run"): 1 / 1.3, ("bagel", r"guided step"): 1.5,
    ("mmada", r"^(text, dual|picture, settled) cache"): 3.0,
}  # fmt: skip
"""Least ratio of the races of a family whose description has the pattern in it, on two CPU cores."""

Races = Callable[[int, str], Iterator[Race]]


def family_of(name: str) -> str:
    """The family of a model or of itself; raises ``BadInput`` that lists what there is."""
    if name in FAMILIES:
        return name
    if name in MODELS:
        return MODELS[name].family
    raise BadInput(f"There is nothing to time for {name!r}. Give all, star-tiny, a folder, or one of: {', '.join((*FAMILIES, *MODELS))}.")


def races_of(family: str) -> Races:
    """A family's races; raises ``BadInput`` where it has none."""
    if importlib.util.find_spec(f"unimm.{family}.bench") is None:
        raise BadInput(f"The family {family} has no races.")
    return importlib.import_module(f"unimm.{family}.bench").races


def target(family: str, race: Race) -> float | None:
    """The least ratio that is asked of a race, where one is."""
    return next((least for (owner, pattern), least in TARGETS.items() if owner == family and re.search(pattern, race.what)), None)


def run_races(
    families: Sequence[str], repeat: int, size: str, show: Callable[[str], None], of: Callable[[str], Races] | None = None
) -> dict[str, Any]:
    """All races of some families as plain data, a line shown for each as it ends.

    A broken contract ends its family's races and stands in ``broken``; targets are only asked of the middle size.
    """
    rows: list[dict[str, Any]] = []
    broken: dict[str, str] = {}
    for family in families:
        try:
            for race in (of or races_of)(family)(repeat, size):
                least = target(family, race) if size == "middle" else None
                met = least is None or race.ratio >= least
                rows.append(asdict(race) | {"family": family, "ratio": race.ratio, "at_least": least, "met": met})
                asked = "" if least is None else f"; at least {least:.2f}x: {'met' if met else 'MISSED'}"
                show(race.line() + asked)
        except AssertionError as error:
            broken[family] = str(error)
            show(f"{family}: BROKEN: {error}")
    return {"repeat": repeat, "size": size, "races": rows, "broken": broken, "peak_memory_gb": peak_memory_gb(), **this_machine()}


def _recorded(given: argparse.Namespace, load: Callable[[str | None], Any] | None) -> dict[str, Any]:
    """The report on recorded runs, printed and as data; raises ``Mismatch`` where two ways differ."""
    from unimm.star import bench
    from unimm.star import load as load_star
    from unimm.star.recorded import recorded_edits

    edits = recorded_edits(given.traces)
    data = bench.run((load or load_star)(None if given.model == "star-tiny" else given.model), edits, given.n, given.repeat)
    print(bench.report(data))
    return data


def _parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="python -m unimm.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("model", help="all, a family or a model's name; star-tiny or a folder: recorded runs")
    flags.add_argument("--json", type=Path, help="file for the numbers")
    flags.add_argument("--repeat", type=int, default=3, help="time everything so often and take the best (default: 3)")
    flags.add_argument("--size", default="middle", help="of the random weights: middle (default), or small to try the command")
    flags.add_argument("--traces", type=Path, default=TRACES, help="folder with recorded runs (default: the ones that come with the page)")
    flags.add_argument("--n", type=int, default=24, help="at most so many recorded pictures (default: 24)")
    return flags


def main(arguments: Sequence[str] | None = None, load: Callable[[str | None], Any] | None = None) -> int:
    """The command; returns the exit status: 0 all contracts held, 1 one did not or a target was missed, 2 could not run."""
    given = _parser().parse_args(arguments)
    try:
        if given.n < 1 or given.repeat < 1:
            raise BadInput("--n and --repeat are at least 1.")
        if given.model == "star-tiny" or Path(given.model).is_dir():
            data = _recorded(given, load)
        else:
            families = [name for name in FAMILIES if importlib.util.find_spec(f"unimm.{name}.bench")]
            data = run_races(families if given.model == "all" else [family_of(given.model)], given.repeat, given.size, print)
        if given.json:
            given.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    except AssertionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if data.get("broken") or not all(row["met"] for row in data.get("races", ())) else 0


if __name__ == "__main__":
    sys.exit(main())
