"""The released way through ``Star``: vision tokens of any picture size, edit rows, cached drawing and writing.

Rows of a drawing come in pairs, conditional then unconditional. Positions are [3, L], the same for every row
(``processor.rope_positions``, or ``line`` where no picture is seen).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor

from unimm.sampling import SamplingOptions, guided, sample
from unimm.star.backbone import causal_mask, new_cache
from unimm.star.checkpoint import translate
from unimm.star.config import StarConfig
from unimm.star.model import Star
from unimm.star.processor import EditRows, Grid
from unimm.weights import load_strict


def build(config: StarConfig, state: Mapping[str, Tensor]) -> Star:
    """A ``Star`` with weights under released or own names; raises ``MissingWeights`` where they do not fit."""
    star = Star(config).eval()
    load_strict(star, translate(state), config.name)
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


@dataclass(frozen=True)
class DrawStep:
    """One drawn token per pair of rows: ids [B], guided logits [B, codes], and the rows' own logits [2B, codes]."""

    ids: Tensor
    logits: Tensor
    raw: Tensor


@torch.inference_mode()
def draw(
    star: Star, embeds: Tensor, positions: Tensor, count: int, weight: float, options: SamplingOptions,
    generator: torch.Generator | None = None,
) -> Iterator[DrawStep]:  # fmt: skip
    """Draw ``count`` tokens after a prompt, one a step; closing the iterator stops the work.

    embeds [2B, L, hidden] are pairs of rows; positions [3, at least L + count - 1] cover the prompt and what is
    drawn. The chosen id goes back into both rows of its pair.
    """
    caches, at = Caches(), 0
    for _ in range(count):
        raw = pixel_logits(star, embeds, positions[:, at : at + embeds.shape[1]], caches)[:, -1]
        logits = guided(*rearrange(raw, "(b pair) codes -> pair b codes", pair=2), weight)
        ids = sample(logits, options, generator)
        yield DrawStep(ids, logits, raw)
        at, embeds = at + embeds.shape[1], star.drawn(repeat(ids, "b -> (b pair) 1", pair=2))


@torch.inference_mode()
def write(
    star: Star, embeds: Tensor, positions: Tensor, offset: int, count: int, options: SamplingOptions,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """Write at most ``count`` words after a prompt, ids [B] a step; the caller stops at an end mark by closing the iterator.

    positions [3, L] are the prompt's; what follows stands at its index plus ``offset`` (see ``rope_positions``).
    """
    caches, length = Caches(), embeds.shape[1]
    for step in range(count):
        ids = sample(word_logits(star, embeds, positions, caches)[:, -1], options, generator)
        yield ids
        embeds, positions = star.words(ids[:, None]), line(length + step + offset, 1)
