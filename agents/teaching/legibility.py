"""What the decoder does for a reader: ``python -m agents.teaching.legibility --model NAME --n 100 [--json FILE]``.

Right next pictures of held-out problems are taken apart into the VQ's tokens, as a drawer without fault would draw them, and shown
twice: in the VQ's own pixels and sharpened by the decoder. The program that reads pictures says how often it finds all that should be
there, letters and lines included.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from agents.evaluate import weights_hash
from agents.run import WHICH, load_model
from agents.statistics import wilson
from agents.tasks import TASKS, Task
from unimm.document import Image
from unimm.errors import BadInput, UnimmError
from unimm.star.generate import StarModel
from unimm.star.options import REFINING
from unimm.star.pictures import fitted, from_tokens
from unimm.star.sharpen import sharpened


@dataclass(frozen=True)
class Read:
    """How many of ``n`` pictures the program takes for right, by what made their pixels, and in how many of these it is only one."""

    n: int
    vq: int
    decoder: int
    vq_alone: int
    decoder_alone: int


def moment(task: Task, split: str, number: int) -> tuple[Any, Image, Image]:
    """A problem, and a picture of its gold solution before and after a step."""
    problem = task.problem(split, number)
    frames = task.solve(problem).frames
    at = random.Random(f"legibility:{task.name}:{number}").randrange(len(frames))
    return problem, problem.image if at == 0 else task.render(frames[at - 1]), task.render(frames[at])


@torch.inference_mode()
def shown(model: StarModel, before: Image, after: Image) -> tuple[Image, Image]:
    """``after`` drawn from its own tokens as a change of ``before``: in the VQ's pixels, and in the decoder's."""
    vq, config = model.star.pixel_encoder, model.config
    source = fitted(before, config)
    ids, source_ids = model._ids(fitted(after, config)), model._ids(source)
    columns = source.width // (config.vq.factor * config.scale)
    plain = from_tokens(ids, vq, config, columns, source, source_ids)
    *_, sharp = sharpened(model.sharpener, vq, config, ids, columns, source, source_ids, REFINING, seed=0)
    return plain, sharp


def read(model: StarModel, task: Task, n: int, split: str) -> Read:
    counts = {(vq, decoder): 0 for vq in (True, False) for decoder in (True, False)}
    for number in range(n):
        problem, before, after = moment(task, split, number)
        plain, sharp = (task.check(problem, before, picture).ok for picture in shown(model, before, after))
        counts[plain, sharp] += 1
    alone = counts[True, False], counts[False, True]
    return Read(n, counts[True, True] + alone[0], counts[True, True] + alone[1], *alone)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status: 0 measured, 2 could not."""
    flags = argparse.ArgumentParser(
        prog="python -m agents.teaching.legibility", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--model", default="star-tiny", help=f"{WHICH} (default: %(default)s)")
    flags.add_argument("--tasks", default=",".join(TASKS), help="some of %(default)s (default: all)")
    flags.add_argument("--n", type=int, default=100, help="pictures of every task (default: 100)")
    flags.add_argument("--split", default="test", choices=("val", "test"), help="whose problems (default: test)")
    flags.add_argument("--json", type=Path, help="file to write the counts to")
    given = flags.parse_args(arguments)
    try:
        names = given.tasks.split(",")
        if unknown := set(names) - set(TASKS):
            raise BadInput(f"There is no task {sorted(unknown)[0]!r}. The tasks are {', '.join(TASKS)}.")
        model = load_model(given.model)
        if not isinstance(model, StarModel) or model.sharpener is None:
            raise BadInput(f"{given.model} has no decoder to measure. Choose a model whose folder holds one.")
        found = {name: read(model, TASKS[name], given.n, given.split) for name in names}
    except UnimmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, row in found.items():
        plain, sharp = wilson(row.vq, row.n), wilson(row.decoder, row.n)
        print(f"{name}: n {row.n}, read rightly {plain} % from the VQ's pixels, {sharp} % from the decoder's")
    if given.json:
        command = ["python", "-m", "agents.teaching.legibility", *(sys.argv[1:] if arguments is None else arguments)]
        data = {"command": " ".join(command), "split": given.split, "sha256": weights_hash(given.model),
                "read": {name: asdict(row) for name, row in found.items()}}  # fmt: skip
        given.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
