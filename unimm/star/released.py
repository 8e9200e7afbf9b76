"""The released way through ``Star``: vision tokens of any picture size, edit rows, cached passes of base and stack.

Positions are [3, L], the same for every row of a batch (``processor.rope_positions``, or ``line`` where no picture is seen).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import repeat
from torch import Tensor

from unimm import weights
from unimm.star.backbone import causal_mask, new_cache
from unimm.star.checkpoint import translate
from unimm.star.config import StarConfig
from unimm.star.model import Star
from unimm.star.processor import EditRows, Grid


def build(
    config: StarConfig, state: Mapping[str, Tensor], device: str | torch.device = "cpu", dtype: torch.dtype | None = None,
    quantize: str | None = None,
) -> Star:  # fmt: skip
    """A ``Star`` with weights under released or own names; raises ``MissingWeights`` where they do not fit."""
    star = weights.build(lambda: Star(config), translate(state), config.name, device, dtype, quantize)
    for part in (star.base, star.stack):
        part.set_attn_implementation("sdpa")
    if config.bf16_rope:
        round_rope(star)
    return star


def round_rope(star: Star) -> None:
    """Round the text decoders' rotary frequencies to bf16, as the release's cast of the whole model did."""
    for decoder in (star.base.model.language_model, star.stack):
        table = decoder.rotary_emb.inv_freq
        table.copy_(table.to(torch.bfloat16))


@dataclass
class Caches:
    """Keys and values of the base and of the stack, grown by every pass."""

    base: Any = field(default_factory=new_cache)
    stack: Any = field(default_factory=new_cache)


def line(start: int, count: int) -> Tensor:
    """Plain positions [3, count]: every axis counts on."""
    return repeat(torch.arange(start, start + count), "n -> three n", three=3)


def see(star: Star, patches: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Vision tower: patches [n, values] of all pictures to merged tokens [m, hidden]."""
    out = star.base.model.visual(patches, grid_thw=torch.tensor(grids, device=patches.device))
    return getattr(out, "pooler_output", out)  # transformers may also hand back the merged tokens alone


def base_states(star: Star, embeds: Tensor, positions: Tensor, caches: Caches | None = None) -> Tensor:
    """The base's last hidden states [B, L, hidden] for embeds [B, L, hidden] that follow what is cached."""
    return star.understand(embeds, *_where(embeds, positions, caches and caches.base))


def stack_states(star: Star, hidden: Tensor, positions: Tensor, caches: Caches | None = None) -> Tensor:
    """The stack's last hidden states [B, L, hidden] over the base's."""
    return star.draw(hidden, *_where(hidden, positions, caches and caches.stack))


def _where(x: Tensor, positions: Tensor, cache: Any) -> tuple[Tensor, Tensor | None, Any]:
    """Positions, causal mask and cache, as the decoders take them."""
    mask = causal_mask(x.shape[1], cache.get_seq_length() if cache is not None else 0, x.dtype)
    places = repeat(positions, "three n -> three b n", b=len(x)).to(x.device)
    return places, None if mask is None else mask.to(x.device), cache


def pixel_logits(star: Star, embeds: Tensor, positions: Tensor, caches: Caches | None = None) -> Tensor:
    """Logits over VQ ids [B, L, codes]."""
    return star.pixel_logits(stack_states(star, base_states(star, embeds, positions, caches), positions, caches))


def word_logits(star: Star, embeds: Tensor, positions: Tensor, caches: Caches | None = None) -> Tensor:
    """Logits over words [B, L, vocabulary]; the stack plays no part."""
    return star.word_logits(base_states(star, embeds, positions, caches))


def edit_embeds(star: Star, rows: EditRows, source_ids: Tensor, vision: Tensor) -> Tensor:
    """Embeddings of edit rows with the source's VQ tokens [1, n] and vision tokens [m, hidden] in their places."""
    embeds = star.words(rows.ids).clone()
    embeds[:, rows.vq] = star.drawn(source_ids)
    embeds[:, rows.vit] = vision
    return embeds


def picture_embeds(star: Star, ids: Tensor, vision: Tensor, image_pad: int) -> Tensor:
    """Embeddings of ids [1, L] whose picture placeholders are filled, in order, with vision tokens [m, hidden]."""
    embeds = star.words(ids)
    return embeds.masked_scatter((ids == image_pad).unsqueeze(-1), vision.to(embeds.dtype))
