"""The bidirectional transformer, under the names of the published weights (fact sheet mmada, sections 2 and 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.mmada.config import BackboneConfig


@dataclass
class Cache:
    """Rotated keys and values of every layer, [rows, kv heads, columns, head dim]; filled by the first full pass."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def put(self, layer: int, columns: Tensor | None, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Overwrite these columns in place (all of them if None) and return the whole row's keys and values."""
        if columns is None:
            del self.keys[layer:], self.values[layer:]
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[layer].index_copy_(2, columns, key)
            self.values[layer].index_copy_(2, columns, value)
        return self.keys[layer], self.values[layer]


class RMSNorm(nn.Module):
    """Root-mean-square norm whose statistics are taken in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


class Block(nn.Module):
    """Attention and a gated feed-forward layer, each after a norm; ``ff_proj`` is the gate."""

    def __init__(self, config: BackboneConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        width, kv, hidden = config.width, config.kv_heads * config.head_dim, config.hidden
        qkv_bias = config.bias or config.qkv_bias
        self.attn_norm, self.ff_norm = RMSNorm(width, config.eps), RMSNorm(width, config.eps)
        self.q_proj = nn.Linear(width, width, bias=qkv_bias)
        self.k_proj = nn.Linear(width, kv, bias=qkv_bias)
        self.v_proj = nn.Linear(width, kv, bias=qkv_bias)
        self.attn_out = nn.Linear(width, width, bias=config.bias)
        self.ff_proj = nn.Linear(width, hidden, bias=config.bias)
        self.up_proj = nn.Linear(width, hidden, bias=config.bias)
        self.ff_out = nn.Linear(hidden, width, bias=config.bias)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], bias: Tensor | None, columns: Tensor | None, cache: Cache | None) -> Tensor:
        h = self.attn_norm(x)
        query, key, value = (rearrange(one(h), "b n (h d) -> b h n d", d=self.config.head_dim) for one in self._projections())
        query, key = rotate(query, turn), rotate(key, turn)
        if cache is not None:
            key, value = cache.put(self.layer, columns, key, value)
        grouped = self.config.kv_heads != self.config.heads
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, enable_gqa=grouped)
        x = x + self.attn_out(rearrange(mixed, "b h n d -> b n (h d)"))
        h = self.ff_norm(x)
        return x + self.ff_out(F.silu(self.ff_proj(h)) * self.up_proj(h))

    def _projections(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.q_proj, self.k_proj, self.v_proj


class Trunk(nn.Module):
    """Embedding, blocks and last norm, named as in the published files."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {
            "wte": nn.Embedding(config.rows, config.width),
            "blocks": nn.ModuleList(Block(config, layer) for layer in range(config.layers)),
            "ln_f": RMSNorm(config.width, config.eps),
        }
        if not config.tied:
            parts["ff_out"] = nn.Linear(config.width, config.rows, bias=config.bias)
        self.transformer = nn.ModuleDict(parts)


class Backbone(nn.Module):
    """Ids to hidden states, and hidden states to logits. Position i predicts the token at i: nothing is shifted."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)

    @property
    def device(self) -> torch.device:
        return self.model.transformer["wte"].weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.transformer["wte"].weight.dtype

    def forward(
        self, ids: Tensor, bias: Tensor | None = None, cache: Cache | None = None, columns: Tensor | None = None,
        states: list[Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """Ids [rows, n] to hidden states after the last norm [rows, n, width].

        Without ``columns`` the ids are the whole sequence, and an empty ``cache`` is filled. With ``columns`` [n] the ids stand at
        these places of the cached sequence, replace what the cache holds for them and look at all of it. ``bias`` is added to the
        scores and broadcasts to [rows, heads, n, whole length]. ``states`` collects the input of every block and the result.
        """
        places = torch.arange(ids.shape[1], device=ids.device) if columns is None else columns
        x = self.model.transformer["wte"](ids)
        turn = rotations(places, self.config, x.dtype)
        bias = None if bias is None else bias.to(x.dtype)
        for block in self.model.transformer["blocks"]:
            if states is not None:
                states.append(x)
            x = block(x, turn, bias, columns, cache)
        x = self.model.transformer["ln_f"](x)
        if states is not None:
            states.append(x)
        return x

    def logits(self, hidden: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Hidden states [..., width] to fp32 logits of the vocabulary's rows ``first`` to ``last`` [..., last - first]."""
        head = self.model.transformer["wte" if self.config.tied else "ff_out"]
        bias = getattr(head, "bias", None)
        return F.linear(hidden, head.weight[first:last], None if bias is None else bias[first:last]).float()


def rotations(places: Tensor, config: BackboneConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [n, head dim] of the rotary embedding, computed in fp32, both halves alike."""
    steps = torch.arange(0, config.head_dim, 2, device=places.device, dtype=torch.float32) / config.head_dim
    angles = places.float()[:, None] * config.rope_theta**-steps
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn element j against j + head dim / 2, in fp32; x [rows, heads, n, head dim]."""
    one, two = x.float().chunk(2, -1)
    return (x.float() * turn[0] + torch.cat([-two, one], -1) * turn[1]).to(x.dtype)


def key_bias(mask: Tensor | None) -> Tensor | None:
    """Hide padded columns: mask [rows, L] (1 = real) to a bias [rows, 1, 1, L]; None where nothing is padded.

    The reference masks pairs; rows of padded queries differ from it, and nothing reads them.
    """
    if mask is None or bool(mask.all()):
        return None
    hidden = torch.zeros(mask.shape, device=mask.device).masked_fill(mask == 0, torch.finfo(torch.bfloat16).min)
    return rearrange(hidden, "b l -> b 1 1 l")


def training_bias(mask: Tensor) -> Tensor:
    """The bias of the reference's training step: +1 between real tokens, so padding is discouraged, never hidden (section 4).

    mask [rows, L] to [rows, 1, L, L].
    """
    pairs = rearrange(mask, "b l -> b 1 l 1") * rearrange(mask, "b l -> b 1 1 l")
    return pairs.float()


def causal_bias(mask: Tensor) -> Tensor | None:
    """What a bare 2-D mask turns into in the reference: nothing if it has no zero, else causal and key-masked (section 4).

    Kept to show that a checkpoint was read right; nothing here generates with it.
    """
    padded = key_bias(mask)
    if padded is None:
        return None
    length = mask.shape[1]
    later = torch.ones(length, length, dtype=torch.bool, device=mask.device).triu(1)
    return padded.masked_fill(later, torch.finfo(torch.bfloat16).min)
