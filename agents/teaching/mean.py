"""Mean of two checkpoints of one stage: ``python -m agents.teaching.mean FIRST SECOND --share 0.6 --out FILE``.

Two ends of one training that went on at a low rate lie in one valley, and a point between them is often better than either: what each
forgot of late, the other knows (averaging weights along a training run: Izmailov et al. 2018, arXiv:1803.05407).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unimm.errors import BadInput


def mean(first: Mapping[str, Any], second: Mapping[str, Any], share: float) -> dict[str, Any]:
    """The second checkpoint with the mean of both modules, ``share`` (0..1) of it the second's; what is equal in both stays bit for bit.

    Counts and what is no number are the second's. Raises ``BadInput`` where they are not of one stage and model.
    """
    if not 0 <= share <= 1:
        raise BadInput(f"--share is 0 to 1, not {share!r}.")
    if not ("module" in first and "module" in second):
        raise BadInput("A file that holds no module is no checkpoint of a stage. Give two that python -m agents.teach wrote.")
    one, other = first["module"], second["module"]
    if {name: value.shape for name, value in one.items()} != {name: value.shape for name, value in other.items()}:
        raise BadInput("These checkpoints are not of one stage and model: their weights have other names or shapes.")
    return {**second, "module": {name: _between(one[name], value, share) for name, value in other.items()}}


def _between(one: Tensor, other: Tensor, share: float) -> Tensor:
    if not other.is_floating_point() or torch.equal(one, other):
        return other
    return (one.double() * (1 - share) + other.double() * share).to(other.dtype)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status: 0 written, 2 could not."""
    flags = argparse.ArgumentParser(
        prog="python -m agents.teaching.mean", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("first", type=Path)
    flags.add_argument("second", type=Path)
    flags.add_argument("--share", type=float, default=0.5, help="of the second in the mean (default: 0.5)")
    flags.add_argument("--out", type=Path, required=True, help="file to write; what a stage goes on from with --resume")
    given = flags.parse_args(arguments)
    try:
        first, second = (torch.load(path, map_location="cpu", weights_only=True) for path in (given.first, given.second))
        torch.save(mean(first, second, given.share), given.out)
    except (BadInput, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
