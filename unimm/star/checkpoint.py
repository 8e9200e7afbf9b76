"""Weights on disk: the released layout and its translation to sharded safetensors.

``python -m unimm.star.checkpoint SOURCE OUT`` turns a released ``.pt`` into sharded safetensors under the names this
package uses (add ``--part pixel_encoder`` for a bare VQ file).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from unimm.errors import BadInput
from unimm.star.config import CONFIGS, RELEASED_VQ, StarConfig
from unimm.star.processor import SpecialIds
from unimm.star.vq import VQConfig
from unimm.weights import State, read_state, save_sharded

RENAMES = (
    ("llm.lm_head.", "base.lm_head."),
    ("llm.visual.", "base.model.visual."),
    ("llm.model.visual.", "base.model.visual."),
    ("llm.model.language_model.", "base.model.language_model."),
    ("llm.model.", "base.model.language_model."),
    ("stacked_ar.model.", "stack."),
)
"""Prefixes of the release (transformers 4.51 naming, then 5) and ours; the first that fits counts, and names already ours stay."""

NOT_OURS = ("diffusion_decoder", "pixel_encoder.quantize.codebook_used")
"""What the network ``Star`` has no use for: the diffusion decoder goes into files of its own, the buffer is bookkeeping."""

DECODER = "diffusion_decoder."


def translate(state: Mapping[str, Tensor]) -> State:
    """Released key names to ours, leaving out what is not ours; translating twice changes nothing."""
    return {_name(key): value for key, value in state.items() if not key.startswith(NOT_OURS)}


def decoder_part(state: Mapping[str, Tensor]) -> State:
    """The diffusion decoder's weights of a released file, without their common prefix; empty where it has none."""
    return {key.removeprefix(DECODER): value for key, value in state.items() if key.startswith(DECODER)}


def _name(key: str) -> str:
    for theirs, ours in RENAMES:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def read_release(data: Mapping[str, Any]) -> StarConfig:
    """A released ``config.json`` as a row: published sizes by default, a ``tiny`` block where there is one."""
    tiny = data.get("tiny", {})
    width = data["pixel_adapter"]["n_embed"]
    released = (row for row in CONFIGS.values() if row.vq == RELEASED_VQ)
    known = next((row for row in released if row.base["text_config"]["hidden_size"] == width), None)
    base = tiny.get("qwen2_5_vl", known and known.base)
    if base is None:
        raise BadInput(f"No STAR of width {width} is known, and config.json describes no base model of its own.")
    return StarConfig(
        name=data["model_name"],
        base=base,
        vq=_vq_config(tiny["vq_model"]) if "vq_model" in tiny else _published_vq(data["pixel_encoder"]),
        stack_layers=data["stacked_ar"]["num_layers"],
        adapter_depth=data["pixel_adapter"]["depth"],
        picture=tiny.get("run_args", {}).get("vq_image_size", 384),
        bf16_rope=data.get("torch_dtype") == "bfloat16",
        memory_gb=known.memory_gb if known else {},
    )


def _published_vq(row: Mapping[str, Any]) -> VQConfig:
    return replace(RELEASED_VQ, codebook_size=row["image_token_size"], codebook_dim=row["n_embed"], attn_heads=row["num_heads"])


def _vq_config(row: Mapping[str, Any]) -> VQConfig:
    if row.get("codebook_l2_norm"):
        raise BadInput("This VQ model asks for l2-normalised codes; the released STAR has none.")
    return VQConfig(
        ch=row["ch"], encoder_ch_mult=tuple(row["encoder_ch_mult"]), decoder_ch_mult=tuple(row["decoder_ch_mult"]),
        num_res_blocks=row["num_res_blocks"], z_channels=row["z_channels"], codebook_size=row["codebook_size"],
        codebook_dim=row["codebook_embed_dim"], attn_heads=row["attn_num_heads"],
        groups=row.get("groupnorm_groups", 32), eps=row.get("groupnorm_eps", 1e-6),
    )  # fmt: skip


def release_specials(data: Mapping[str, Any]) -> SpecialIds:
    """The special ids of a released ``config.json``: Qwen's own unless a ``tiny`` block names others."""
    marks = data.get("tiny", {}).get("special_tokens", {})
    names = {"newline": "\n"} | {name: f"<|{name}|>" for name in SpecialIds.__dataclass_fields__ if name != "newline"}
    return SpecialIds(**{name: marks[mark] for name, mark in names.items() if mark in marks})


SMALL_FILES = ("config.json", "tokenizer.json", "caption_tokenizer.json")


def convert(source: Path, out: Path, part: str | None = None, limit: int = 5_000_000_000) -> list[Path]:
    """A released file as sharded safetensors under our names; ``part`` is the prefix a bare part's file lacks.

    The diffusion decoder goes into shards of its own (``diffusion_decoder-*``), so that drawing without it reads less.
    Config and tokenizers that lie beside the source are copied along.
    """
    state = read_state(source)
    if part:
        state = {f"{part}.{key}": value for key, value in state.items()}
    paths = save_sharded(translate(state), out, limit=limit)
    if decoder := {key: value for key, value in state.items() if key.startswith(DECODER)}:
        paths += save_sharded(decoder, out, "diffusion_decoder", limit)
    for name in SMALL_FILES:
        beside = Path(source).parent / name
        if beside.is_file() and beside.parent.resolve() != out.resolve():
            paths.append(Path(shutil.copyfile(beside, out / name)))
    return paths


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m unimm.star.checkpoint", description="Turn a released .pt into sharded safetensors.")
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", help="prefix for a file that holds one part only, such as pixel_encoder")
    parser.add_argument("--limit-mb", type=int, default=5000, help="largest shard")
    row = parser.parse_args(None if arguments is None else list(arguments))
    for path in convert(row.source, row.out, row.part, row.limit_mb * 1_000_000):
        print(path)


if __name__ == "__main__":
    main()
