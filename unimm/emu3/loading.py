"""From a folder of published files to the parts of an ``Emu3Model``: which decoders, where, and both at once or in turn."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from unimm.emu3.checkpoint import Found, Part, build_codec, build_language, find
from unimm.emu3.codec import Codec
from unimm.emu3.config import LanguageConfig
from unimm.emu3.language import Language
from unimm.emu3.pair import Pair
from unimm.emu3.tokenizer import Words, load_words
from unimm.errors import MissingWeights
from unimm.memory import Size, free_bytes, size_of

SPARE = 1.2
"""Memory that holding both decoders needs, as a multiple of their weights: keys, values and the codec's maps come on top."""


def parts(
    path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None, *,
    hold: bool | None = None, tokenizer: Words | None = None,
) -> tuple[Pair, Codec, Words, int, dict[str, float]]:  # fmt: skip
    """See ``unimm.emu3.load``. Damage of any file shows here, not in the middle of a run."""
    device, found = torch.device(device or "cpu"), find(path)
    configs = {side: found.language(side) for side in found.sides}
    first = next(iter(configs.values()))
    words = tokenizer or load_words(found.folders, first.ids.pad)
    codec = build_codec(found.codec, configs.get("chat", first).area, device)
    sizes = _sizes(found)
    kind = quantize or ("bf16" if dtype in (torch.bfloat16, torch.float16) else "fp32" if dtype else None)
    if hold is None:
        hold = len(sizes) == 1 or SPARE * sum(size.bytes_at(kind) for size in sizes.values()) <= _free(device)
    makers = {part.folder: partial(_language, part, configs[side], device, dtype, quantize) for side, part in found.sides.items()}
    pair = Pair(
        {side: makers[part.folder] for side, part in found.sides.items()}, device, hold, parks=device.type != "cpu" and quantize is None
    )
    for side in pair.sides if hold else pair.sides[:1]:
        pair.get(side)
    at_once = sum(sizes.values(), Size(0, 0, 0)) if hold else max(sizes.values(), key=lambda size: size.stored)
    memory = {precision: round(at_once.bytes_at(precision) / 1e9, 2) for precision in ("fp32", "bf16", "int8", "nf4")}
    return pair, codec, words, configs.get("gen", first).area, memory


def _sizes(found: Found) -> dict[Path, Size]:
    """What each decoder's files hold, from their headers; raises ``MissingWeights`` where a file is absent or cut off."""
    sizes = {part.folder: size_of(part.folder) for part in found.sides.values()}
    for folder, size in sizes.items():
        if not size.stored:
            raise MissingWeights(f"{folder} holds no weights. Download the repository's safetensors files too.")
    return sizes


def _language(part: Part, config: LanguageConfig, device: torch.device, dtype: torch.dtype | None, quantize: str | None) -> Language:
    return Language(build_language(part, config, device, dtype, quantize), config)


def _free(device: torch.device) -> int:
    free = free_bytes()
    return free.get(device.index or 0, free["cpu"]) if device.type == "cuda" else free["cpu"]
