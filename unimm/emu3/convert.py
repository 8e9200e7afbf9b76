"""Original checkpoint to native folder: ``python -m unimm.emu3.convert Emu3-Gen Emu3-VisionTokenizer OUT``.

The result loads with ``unimm.emu3.load`` and with ``Emu3ForConditionalGeneration.from_pretrained``; weights keep their
precision and values (fact sheet: janus_pro_emu3, section 2.2).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from transformers import Emu3Config

from unimm.emu3.checkpoint import Found, Part, codec_state, language_state, read_part
from unimm.emu3.config import ORIGINAL_CODEC, ORIGINAL_LANGUAGE, PIXELS, read_codec
from unimm.emu3.tokenizer import NATIVE_FILE, ORIGINAL_FILE, from_ranks, read_ranks
from unimm.errors import MissingWeights, UnimmError
from unimm.weights import State, read_state, save_sharded

SHARD_BYTES = 5_000_000_000
PREPROCESSING = {
    "image_processor_type": "Emu3ImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    "min_pixels": PIXELS[0], "max_pixels": PIXELS[1],
}  # fmt: skip
"""Written out, since the class's own defaults are another model's statistics."""


def native_state(language: State, codec: State) -> State:
    """One native state of both original ones."""
    decoder = language_state(language, ORIGINAL_LANGUAGE)
    renamed = {re.sub(r"^model\.", "model.text_model.", key): value for key, value in decoder.items()}
    return renamed | {f"model.vqmodel.{key}": value.contiguous() for key, value in codec_state(codec, ORIGINAL_CODEC).items()}


def native_config(language: Part, codec: Part) -> dict[str, object]:
    """The native config of both original ones, with the vocabulary's control words and codes."""
    own = Found({"gen": language}, codec).language("gen")
    config = Emu3Config(
        text_config=own.text.to_dict(), vq_config=read_codec(codec.config).to_dict(), vocabulary_map=own.ids.vocabulary_map(),
        tie_word_embeddings=False, architectures=["Emu3ForConditionalGeneration"], image_area=own.area,
    )  # fmt: skip
    return json.loads(config.to_json_string(use_diff=False))


def convert(language: Path, codec: Path, out: Path, shard: int = SHARD_BYTES) -> list[Path]:
    """Write the native folder of an original decoder and the codec; returns the weight files.

    Raises ``MissingWeights`` for damaged or foreign folders.
    """
    decoder, tokens = read_part(language), read_part(codec)
    for part, kind in ((decoder, ORIGINAL_LANGUAGE), (tokens, ORIGINAL_CODEC)):
        if part.kind != kind:
            raise MissingWeights(f"{part.folder} is a {part.kind!r}, not an original {kind!r}. Give the decoder first, then the codec.")
    config = native_config(decoder, tokens)
    out.mkdir(parents=True, exist_ok=True)
    files = save_sharded(native_state(read_state(language), read_state(codec)), out, limit=shard)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    _preprocessing(codec, out, len(tokens.config["ch_mult"]) - 1)
    _tokenizer(language, out)
    return files


def _preprocessing(codec: Path, out: Path, halvings: int) -> None:
    """The published bounds, or the codec's own; a codec without any takes none along, so that its size decides as before."""
    file = codec / "preprocessor_config.json"
    if file.is_file():
        own = json.loads(file.read_text(encoding="utf-8"))
        bounds = {name: own[name] for name in ("min_pixels", "max_pixels") if name in own}
        data = {**PREPROCESSING, **bounds, "spatial_factor": 2**halvings}
        (out / file.name).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _tokenizer(language: Path, out: Path) -> None:
    if (language / NATIVE_FILE).is_file():
        (out / NATIVE_FILE).write_bytes((language / NATIVE_FILE).read_bytes())
    elif (language / ORIGINAL_FILE).is_file():
        from_ranks(read_ranks(language / ORIGINAL_FILE)).save(str(out / NATIVE_FILE))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 written, 2 could not."""
    flags = argparse.ArgumentParser(prog="python -m unimm.emu3.convert", description=__doc__)
    flags.add_argument("language", type=Path, help="folder of an original decoder (Emu3-Chat, Emu3-Gen)")
    flags.add_argument("codec", type=Path, help="folder of the original codec (Emu3-VisionTokenizer)")
    flags.add_argument("out", type=Path, help="folder to write")
    given = flags.parse_args(arguments)
    try:
        for file in convert(given.language, given.codec, given.out):
            print(file)
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
