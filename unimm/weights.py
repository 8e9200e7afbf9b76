"""Weights on disk and in memory: strict loading, shards small enough to push, models built without a second copy.

Every family of models reads its published files through here, so that a damaged, foreign or wrongly sized file is
always the same named error.
"""

from __future__ import annotations

import json
import lzma
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unimm import quantize as quantization
from unimm import spread
from unimm.errors import BadInput, MissingWeights
from unimm.models import PACKED

State = dict[str, Tensor]

SHARD_BYTES = 9_000_000
"""Below the 10 MB that a plain git push to a model host takes."""


def read_state(path: Path, name: str = "model") -> State:
    """Read every tensor of a file (``.pt``, ``.safetensors``, ``.safetensors.xz``) or of a folder written by ``save_sharded``.

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
        if path.suffix == PACKED:
            return load(lzma.decompress(path.read_bytes()))
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, lzma.LZMAError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise MissingWeights(f"{path.name} is damaged or is not a weight file. Fetch it again. ({_first_line(error)})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MissingWeights(f"{path.name} holds no state dict: a mapping of names to tensors was expected.")
    return state


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder; raises ``MissingWeights`` where there is none, or no readable one."""
    if not path.is_file():
        raise MissingWeights(f"{path.name} is missing in {path.parent}. Check the path, or download the weights first.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeights(f"{path.name} is damaged. Fetch it again.") from error
    if not isinstance(data, dict):
        raise MissingWeights(f"{path.name} is damaged: it holds no object. Fetch it again.")
    return data


def load_strict(module: nn.Module, state: Mapping[str, Tensor], what: str = "model") -> None:
    """Copy ``state`` into ``module``; raises ``MissingWeights`` that names every kind of misfit, and then copies nothing.

    An output layer tied to the embeddings may be absent from ``state``.
    """
    check_fit(module, state, what)
    module.load_state_dict(state, strict=False)


def check_fit(module: nn.Module, state: Mapping[str, Tensor], what: str = "model") -> None:
    """Raise ``MissingWeights`` where ``state`` lacks a tensor of ``module``, has one too many or one of another shape."""
    own = dict(module.state_dict(keep_vars=True))
    first = {id(value): key for key, value in reversed(own.items())}
    missing = [key for key, value in own.items() if key not in state and first[id(value)] not in state]
    unexpected = [key for key in state if key not in own]
    misshaped = [f"{k} {list(state[k].shape)} for {list(own[k].shape)}" for k in own if k in state and state[k].shape != own[k].shape]
    faults = [_some(kind, keys) for kind, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped)) if keys]
    if faults:
        raise MissingWeights(f"The weights do not fit the {what}: {'; '.join(faults)}. Are they of another size or version?")


def _some(kind: str, keys: list[str], shown: int = 6) -> str:
    rest = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:shown])}{rest})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def save_sharded(
    state: Mapping[str, Tensor], folder: Path, name: str = "model", limit: int = SHARD_BYTES, packed: bool = False
) -> list[Path]:
    """Write ``name-00001-of-0000N.safetensors`` files of at most ``limit`` bytes of tensors and their index; returns all paths.

    ``packed`` puts each into an xz container: a quarter smaller where the tensors are 8-bit floats.
    The index goes first and comes back last, so an interrupted save is seen as missing weights, never as mixed ones.
    Raises ``BadInput`` where one tensor alone is above the limit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index, old = folder / f"{name}.safetensors.index.json", set(folder.glob(f"{name}-*-of-*.safetensors*"))
    shards = _split(state, limit)
    index.unlink(missing_ok=True)
    paths, places = [], {}
    for i, shard in enumerate(shards, 1):
        path = folder / f"{name}-{i:05d}-of-{len(shards):05d}.safetensors{PACKED * packed}"
        tensors, about = {key: value.detach().cpu().clone().contiguous() for key, value in shard.items()}, {"format": "pt"}
        if packed:
            path.write_bytes(lzma.compress(save(tensors, about)))
        else:
            save_file(tensors, path, metadata=about)
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


def build(
    make: Callable[[], nn.Module], state: Mapping[str, Tensor], what: str = "model", device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None, quantize: str | None = None,
) -> nn.Module:  # fmt: skip
    """A module made by ``make`` with the weights of ``state``, frozen, for inference, on ``device``.

    Floating-point tensors become ``dtype`` (kept as stored if None); tables that ``make`` computes, such as rotary
    frequencies, keep their precision. Parameters are laid out without memory first, so that no weight is held twice.
    ``quantize`` ("int8", "nf4") is for the linear layers of repeated blocks (see ``unimm.quantize``); inside
    ``unimm.spread.over`` the blocks are spread over several devices. Raises ``MissingWeights`` that names what is
    missing, unexpected or mis-shaped, ``BadInput`` or ``ModelUnavailable`` where ``quantize`` cannot be had.
    """
    quantization.check_kind(quantize)
    with Unfilled():
        module = make()
    check_fit(module, state, what)
    given = _untied(module, state)
    stored = next((value.dtype for value in given.values() if value.is_floating_point()), torch.float32)
    places = spread.placing(module, device, {key: _bytes(value, dtype) for key, value in given.items()})
    packed = quantization.swap(module, quantize, dtype or stored) if quantize else frozenset()
    plain = {key: value for key, value in given.items() if key.removesuffix(".weight") not in packed}
    for name in packed:
        key = f"{name}.weight"
        quantization.fill(module.get_submodule(name), given[key], quantize, dtype or stored, places.of(key))
    module.load_state_dict(_placed(plain, places, dtype), strict=False, assign=True)
    _place_tables(module, places, plain)
    if empty := [name for name, value in (*module.named_parameters(), *module.named_buffers()) if value.is_meta]:
        raise MissingWeights(f"Nothing fills {_some('tensor(s)', empty)} of the {what}. Are the weights of another version?")
    return spread.attach(module, places).eval().requires_grad_(False)


def _bytes(value: Tensor, dtype: torch.dtype | None) -> int:
    return value.numel() * (dtype.itemsize if dtype and value.is_floating_point() else value.element_size())


def _placed(state: State, places: spread.Placing, dtype: torch.dtype | None) -> State:
    """Every tensor on its device, floats as ``dtype``; what is one tensor under two names stays one."""
    moved = {id(value): value.to(places.of(key), dtype if value.is_floating_point() else None) for key, value in state.items()}
    return {key: moved[id(value)] for key, value in state.items()}


def _place_tables(module: nn.Module, places: spread.Placing, filled: State) -> None:
    """What ``make`` computed itself and no file holds goes where its module is."""
    for name, table in list(module.named_buffers()):
        if name not in filled and not table.is_meta:
            owner, _, own = name.rpartition(".")
            module.get_submodule(owner)._buffers[own] = table.to(places.of(name))


class Unfilled(TorchFunctionMode):
    """Uninitialised tensors take no memory; tables that are computed are computed."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _untied(module: nn.Module, state: Mapping[str, Tensor]) -> State:
    """``state`` with a value for every tensor of ``module``: tied tensors share one, unless the file holds them unequal."""
    own = dict(module.state_dict(keep_vars=True))
    shared: dict[int, Tensor] = {}
    given: State = {}
    for key in sorted(own, key=lambda key: key not in state):
        value, known = state.get(key), shared.get(id(own[key]))
        same = known is not None and (value is None or (value.dtype == known.dtype and value.equal(known)))
        given[key] = known if same else value
        shared.setdefault(id(own[key]), given[key])
    return {key: given[key] for key in own}
