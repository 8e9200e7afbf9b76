"""From DeepSeek's layout to that of transformers: ``python -m unimm.janus.convert ORIGINAL OUT``."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from unimm.errors import BadInput, UnimmError
from unimm.janus import checkpoint
from unimm.janus.config import MARKS, SpecialIds
from unimm.janus.tokenizer import load_words

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def convert(source: Path, target: Path, shard: str = "5GB") -> None:
    """Write the model of ``source`` to ``target`` so that ``JanusForConditionalGeneration.from_pretrained`` reads it right.

    Untied word matrices, a codebook of unit rows, and the ids that image generation asks for are written down (fact sheet,
    1.2). Raises ``BadInput`` where ``target`` holds something, ``MissingWeights`` where ``source`` cannot be read.
    """
    if target.exists() and any(target.iterdir()):
        raise BadInput(f"{target} is not empty. Give a new folder.")
    folder = checkpoint.home(source)
    found = checkpoint.read(folder)
    special = load_words(folder, checkpoint.toy_notes(folder)).special
    found.config.image_token_id = special.image
    net = checkpoint.build(found)
    net.generation_config = generation_config(special)
    net.save_pretrained(target, max_shard_size=shard)
    for name in TOKENIZER:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    _write_processor(target, net.config.vision_config.image_size, net.config.vision_config.num_image_tokens, found.min_side)


def generation_config(special: SpecialIds) -> GenerationConfig:
    """What the library's own image mode needs; without begin-of-image it stops with a ``KeyError``."""
    ids = {"bos_token_id": special.bos, "eos_token_id": special.eos, "pad_token_id": special.pad}
    return GenerationConfig(**ids, generation_kwargs={"boi_token_id": special.begin})


def _write_processor(target: Path, side: int, patches: int, min_side: int) -> None:
    half = [0.5, 0.5, 0.5]
    pictures = {
        "image_processor_type": "JanusImageProcessor", "processor_class": "JanusProcessor", "size": {"height": side, "width": side},
        "image_mean": half, "image_std": half, "min_size": min_side, "do_resize": True, "do_rescale": True, "do_normalize": True,
        "do_pad": True, "rescale_factor": 1 / 255, "resample": 3,
    }  # fmt: skip
    _write(target / "preprocessor_config.json", pictures)
    _write(target / "processor_config.json", {"processor_class": "JanusProcessor", "num_image_tokens": patches})
    path = target / "tokenizer_config.json"
    if path.is_file():
        marks = {"image_token": MARKS["image"], "boi_token": MARKS["begin"], "eoi_token": MARKS["end"]}
        _write(path, json.loads(path.read_text(encoding="utf-8")) | {"extra_special_tokens": marks, "processor_class": "JanusProcessor"})


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when it is written, 2 when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m unimm.janus.convert", description=__doc__)
    parser.add_argument("original", type=Path, help="folder as DeepSeek publishes it")
    parser.add_argument("out", type=Path, help="new folder in the layout of transformers")
    given = parser.parse_args(arguments)
    try:
        convert(given.original, given.out)
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written to {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
