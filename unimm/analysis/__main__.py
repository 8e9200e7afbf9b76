"""``python -m unimm.analysis MODEL``: measure, print the spans, write numbers (JSON) and a plot (PNG)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from unimm import load
from unimm.analysis.measure import Measured, measure, report
from unimm.analysis.plot import plot
from unimm.analysis.reference import TASKS
from unimm.analysis.samples import samples
from unimm.document import Document, Image, Text
from unimm.errors import BadInput, UnimmError
from unimm.model import Options, UnifiedModel, Want

WANTS: dict[str, tuple[Want, ...]] = {"both": ("image", "text"), "drawing": ("image",), "understanding": ("text",)}


def documents(row: Any, name: str, want: Want) -> list[Document]:
    """What to measure on: the caller's words and pictures, or the samples that come with the model's name."""
    if not row.prompt and not row.image:
        return samples(name, want, row.samples)
    try:
        pictures = [Image.from_pil(PILImage.open(path)) for path in row.image]
    except (OSError, PILImage.DecompressionBombError) as error:
        raise BadInput(f"A picture cannot be read: {error}. Check the path.") from error
    return [Document().user(*pictures, Text(prompt)) for prompt in row.prompt or ["Describe the picture."]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print spans and curves, write both files; 0 if it worked, 2 with one sentence if it cannot."""
    parser = argparse.ArgumentParser(prog="python -m unimm.analysis", description="Measure cross-modal attention, layer by layer.")
    parser.add_argument("model", help="a name of python -m unimm.models, such as star-tiny")
    parser.add_argument("--path", type=Path, help="the model's folder, where it is not where it was fetched to")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for MODEL-attention.json and .png")
    parser.add_argument("--task", choices=WANTS, default="both")
    parser.add_argument("--prompt", action="append", default=[], help="words to draw from, or the question; may be repeated")
    parser.add_argument("--image", action="append", default=[], type=Path, help="picture to look at or to edit; may be repeated")
    parser.add_argument("--samples", type=int, default=8, help="how many of the built-in documents to average over")
    parser.add_argument("--max-tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--no-think", action="store_true", help="draw without writing a thought first")
    parser.add_argument("--seed", type=int, default=0)
    row = parser.parse_args(arguments)
    try:
        model, name = load(row.model, row.path), row.model.split("@")[0]
        options = Options(seed=row.seed, max_tokens=row.max_tokens, think=not row.no_think)
        measured = [_measured(model, want, documents(row, name, want), options) for want in WANTS[row.task]]
        row.out.mkdir(parents=True, exist_ok=True)
    except (UnimmError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    numbers, picture = row.out / f"{name}-attention.json", row.out / f"{name}-attention.png"
    data = report(name, measured)
    numbers.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    plot(name, measured).save(picture)
    print(f"drawing against understanding over depth: Pearson {data['pearson_drawing_understanding']}\n{numbers}\n{picture}")
    return 0


def _measured(model: UnifiedModel, want: Want, todo: list[Document], options: Options) -> Measured:
    """Measure and print as it goes."""
    found = []
    for number, sample in enumerate(measure(model, want, todo, options), 1):
        print(f"{TASKS[want]} {number}/{len(todo)}: " + "; ".join(f"{name} {spans}" for name, spans in sample.spans.items()), flush=True)
        found.append(sample)
    result = Measured(want, tuple(found))
    for name in result.columns():
        print(f"  {name:9} " + " ".join(f"{value:.3f}" for value in result.mean(name)))
    print(f"  if attention were even: {result.even:.3f}")
    return result


if __name__ == "__main__":
    sys.exit(main())
