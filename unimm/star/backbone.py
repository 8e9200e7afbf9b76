"""The transformers classes that STAR is made of, built from a configuration; the only place that names them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.cache_utils import DynamicCache
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel, apply_rotary_pos_emb_vision

from unimm.star.config import StarConfig


def build_base(config: StarConfig) -> Qwen2_5_VLForConditionalGeneration:
    """The understanding model, with random weights. Eager attention: on CPU its backward pass is the fastest."""
    return Qwen2_5_VLForConditionalGeneration._from_config(_qwen(config), attn_implementation="eager")


def _qwen(config: StarConfig) -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(**copy.deepcopy(dict(config.base)))


def build_stack(config: StarConfig) -> Qwen2_5_VLTextModel:
    """More layers of the base's own kind; they read hidden states, so they have no embedding table."""
    text = _qwen(config).text_config
    text.num_hidden_layers = config.stack_layers
    if config.stack_theta:
        text.rope_parameters = {**text.rope_parameters, "rope_theta": config.stack_theta}
    text.layer_types = ["full_attention"] * config.stack_layers
    stack = Qwen2_5_VLTextModel._from_config(text, attn_implementation="eager")
    del stack.embed_tokens
    return stack


def new_cache() -> DynamicCache:
    return DynamicCache()


def decode(layers: nn.Module, embeds: Tensor, position: Tensor, mask: Tensor | None, cache: Any = None, **options: Any) -> Any:
    """Run a Qwen text model on embeddings [B, L, D] at rope positions [3, B, L].

    ``mask`` is additive [B or 1, 1, L, cached + L]; None lets every position see everything before and beside it,
    which is right for a single new token.
    """
    return layers(inputs_embeds=embeds, position_ids=position, attention_mask={"full_attention": mask}, past_key_values=cache,
                  use_cache=cache is not None, **options)  # fmt: skip


def causal_mask(new: int, cached: int = 0, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """Additive mask [1, 1, new, cached + new] under which a position sees itself and all before it."""
    if new == 1:
        return None
    blocked = torch.ones(new, cached + new, dtype=torch.bool).triu(cached + 1)
    return torch.zeros(1, 1, new, cached + new, dtype=dtype).masked_fill(blocked, torch.finfo(dtype).min)


def see(visual: nn.Module, pixels: Tensor) -> Tensor:
    """Qwen's vision tower on pictures of one size, in a batch: pixels [N, 3, H, W] to tokens [N, cells, D].

    Equal to the tower's own forward for full attention in every block and a merge size of 1, which handles one
    picture after the other; the test compares the two.
    """
    size = visual.patch_size
    rows, columns = pixels.shape[2] // size, pixels.shape[3] // size
    x = visual.patch_embed(rearrange(pixels, "n c (r p) (s q) -> (n r s) (c p q)", p=size, q=size))
    x = rearrange(x, "(n l) d -> n l d", n=len(pixels))
    places = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), -1).flatten(0, 1).to(pixels.device)
    cos, sin = visual.rotary_pos_emb(x, places)
    for block in visual.blocks:
        x = x + _attend(block.attn, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
    return rearrange(visual.merger(rearrange(x, "n l d -> (n l) d")), "(n l) d -> n l d", n=len(pixels))


def _attend(attention: nn.Module, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    q, k, v = rearrange(attention.qkv(x), "n l (three h d) -> three n l h d", three=3, h=attention.num_heads)
    q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
    q, k, v = (rearrange(part, "n l h d -> n h l d") for part in (q, k, v))
    weights = (q @ k.transpose(-1, -2) * attention.scaling).softmax(-1, dtype=torch.float32).to(v.dtype)
    return attention.proj(rearrange(weights @ v, "n h l d -> n l (h d)"))
