"""Weights on disk: the released layout and its translation, strict loading, and shards small enough to push.

``python -m unimm.star.checkpoint SOURCE OUT`` turns a released ``.pt`` into sharded safetensors under the names this
package uses (add ``--part pixel_encoder`` for a bare VQ file).
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unimm.errors import BadInput, MissingWeights
from unimm.star.config import CONFIGS, RELEASED_VQ, StarConfig
from unimm.star.processor import SpecialIds
from unimm.star.vq import VQConfig

State = dict[str, Tensor]

SHARD_BYTES = 9_000_000
"""Below the 10 MB that a plain git push to a model host takes."""

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
"""Parts of a released file that this model has no use for: the diffusion decoder is a model of its own, the buffer is bookkeeping."""


def translate(state: Mapping[str, Tensor]) -> State:
    """Released key names to ours, leaving out what is not ours; translating twice changes nothing."""
    return {_name(key): value for key, value in state.items() if not key.startswith(NOT_OURS)}


def _name(key: str) -> str:
    for theirs, ours in RENAMES:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def read_state(path: Path, name: str = "model") -> State:
    """Read every tensor of a file (``.pt``, ``.safetensors``) or of a folder written by ``save_sharded``.

    ``.pt`` files are read without running anything they hold; a ``state_dict`` entry is unwrapped.
    Raises ``MissingWeights`` for absent, truncated or foreign files.
    """
    path = Path(path)
    if path.is_dir():
        return load_sharded(path, name)
    if not path.is_file():
        raise MissingWeights(f"There is no weight file at {path}. Check the path, or download the weights first.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise MissingWeights(f"{path.name} is damaged or is not a weight file. Fetch it again. ({_first_line(error)})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MissingWeights(f"{path.name} holds no state dict: a mapping of names to tensors was expected.")
    return state


def load_strict(module: nn.Module, state: Mapping[str, Tensor], what: str = "model") -> None:
    """Copy ``state`` into ``module``; raises ``MissingWeights`` that names every kind of misfit, and then copies nothing.

    An output layer tied to the embeddings may be absent from ``state``.
    """
    own = dict(module.state_dict(keep_vars=True))
    first = {id(value): key for key, value in reversed(own.items())}
    missing = [key for key, value in own.items() if key not in state and first[id(value)] not in state]
    unexpected = [key for key in state if key not in own]
    misshaped = [f"{k} {list(state[k].shape)} for {list(own[k].shape)}" for k in own if k in state and state[k].shape != own[k].shape]
    faults = [_some(kind, keys) for kind, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped)) if keys]
    if faults:
        raise MissingWeights(f"The weights do not fit the {what}: {'; '.join(faults)}. Are they of another size or version?")
    module.load_state_dict(state, strict=False)


def _some(kind: str, keys: list[str], shown: int = 6) -> str:
    rest = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:shown])}{rest})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def save_sharded(state: Mapping[str, Tensor], folder: Path, name: str = "model", limit: int = SHARD_BYTES) -> list[Path]:
    """Write ``name-00001-of-0000N.safetensors`` files of at most ``limit`` bytes of tensors and their index; returns all paths.

    The index goes first and comes back last, so an interrupted save is seen as missing weights, never as mixed ones.
    Raises ``BadInput`` where one tensor alone is above the limit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index, old = folder / f"{name}.safetensors.index.json", set(folder.glob(f"{name}-*-of-*.safetensors"))
    shards = _split(state, limit)
    index.unlink(missing_ok=True)
    paths, places = [], {}
    for i, shard in enumerate(shards, 1):
        path = folder / f"{name}-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file({key: value.detach().cpu().clone().contiguous() for key, value in shard.items()}, path, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, path.name)
        paths.append(path)
    for path in old.difference(paths):
        path.unlink()
    total = sum(value.nbytes for value in state.values())
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}, indent=1))
    return [*paths, index]


def _split(state: Mapping[str, Tensor], limit: int) -> list[State]:
    shards, room = [], 0
    for key, value in state.items():
        if value.nbytes > limit:
            raise BadInput(f"{key} alone takes {value.nbytes} bytes, more than a shard's {limit}. Raise the limit or use a smaller dtype.")
        if not shards or value.nbytes > room:
            shards.append({})
            room = limit
        shards[-1][key] = value
        room -= value.nbytes
    return shards


def load_sharded(folder: Path, name: str = "model") -> State:
    """Read what ``save_sharded`` wrote, or a single ``name.safetensors``; raises ``MissingWeights``."""
    single, index = folder / f"{name}.safetensors", folder / f"{name}.safetensors.index.json"
    if not index.is_file():
        if single.is_file():
            return read_state(single)
        raise MissingWeights(f"{folder} holds no {name}.safetensors and no index of shards. Restore the folder or train the model.")
    try:
        places = json.loads(index.read_text())["weight_map"]
        files = sorted({folder / Path(place).name for place in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MissingWeights(f"{index.name} is damaged. Restore it from the repository.") from error
    state: State = {}
    for file in files:
        state |= read_state(file)
    if absent := [key for key in places if key not in state]:
        raise MissingWeights(f"The shards in {folder} lack {_some('tensor(s)', absent)}. Restore them from the repository.")
    return state


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


def convert(source: Path, out: Path, part: str | None = None, limit: int = 5_000_000_000) -> list[Path]:
    """A released file as sharded safetensors under our names; ``part`` is the prefix a bare part's file lacks."""
    state = read_state(source)
    if part:
        state = {f"{part}.{key}": value for key, value in state.items()}
    return save_sharded(translate(state), out, limit=limit)


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
