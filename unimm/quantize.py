"""8-bit and 4-bit weights by bitsandbytes, an optional library: which layers take them, and how they are filled.

Only the linear layers of repeated blocks are quantised: they hold almost all of a model's weights. Tables, heads,
adapters and codecs stay as they are.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from unimm.errors import BadInput, ModelUnavailable

BITS = {"int8": 8.0, "nf4": 4.5}
"""Bits a weight takes: NF4 keeps one fp32 scale for every 64 weights beside their 4 bits (no double quantisation)."""

WHOLE = 64
"""NF4 packs weights by blocks of so many; a matrix with a side that is no multiple of it stays as it is."""

INSTALL = "pip install -r requirements-extras.txt"


def check_kind(kind: str | None) -> None:
    """Raise ``BadInput`` for an unknown kind, ``ModelUnavailable`` where the library for it is not installed."""
    if kind is None:
        return
    if kind not in BITS:
        raise BadInput(f"There is no quantisation {str(kind)[:40]!r}. Choose one of: {', '.join(BITS)}, or None.")
    _library()


def _library() -> ModuleType:
    try:
        return importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise ModelUnavailable(f"8-bit and 4-bit weights need the library bitsandbytes, which is not installed. Run: {INSTALL}") from error


def in_blocks(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Names and modules of all plain linear layers inside lists of repeated blocks, in order."""
    lists = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, nn.ModuleList))
    for name, part in module.named_modules():
        if type(part) is nn.Linear and name.startswith(lists):
            yield name, part


def swap(module: nn.Module, kind: str, dtype: torch.dtype) -> frozenset[str]:
    """Put empty quantised layers that compute in ``dtype`` in the places of ``in_blocks``; returns their names."""
    bnb, names = _library(), []
    for name, part in list(in_blocks(module)):
        if kind == "nf4" and (part.in_features % WHOLE or part.out_features % WHOLE):
            continue
        sizes: dict[str, Any] = {
            "input_features": part.in_features, "output_features": part.out_features, "bias": part.bias is not None, "device": "meta",
        }  # fmt: skip
        if kind == "nf4":
            layer = bnb.nn.Linear4bit(**sizes, compute_dtype=dtype, quant_type="nf4", compress_statistics=False)
        else:
            layer = bnb.nn.Linear8bitLt(**sizes, has_fp16_weights=False, threshold=6.0)
        module.set_submodule(name, layer)
        names.append(name)
    return frozenset(names)


def fill(layer: nn.Module, weight: Tensor, kind: str, dtype: torch.dtype, device: torch.device | str) -> None:
    """Quantise ``weight`` [out, in] into a layer made by ``swap``, on ``device``; only this one matrix is held twice."""
    bnb = _library()
    if kind == "nf4":
        whole = weight.to("cpu", dtype).contiguous()
        packed = bnb.nn.Params4bit(whole, requires_grad=False, quant_type="nf4", compress_statistics=False, module=layer)
    else:
        packed = bnb.nn.Int8Params(weight.to("cpu", torch.float16).contiguous(), requires_grad=False, has_fp16_weights=False)
    layer.weight = packed.to(device)
