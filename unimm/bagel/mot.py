"""The decoder: a mixture of two transformers with shared attention (fact sheet: bagel, section 2).

Rows come as a mapping from expert, ``und`` or ``gen``, to [n, width]: text, vision patches and the marks around pictures
go to ``und``, latents to ``gen``. Module names are the published keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from unimm.bagel.config import LanguageSize
from unimm.bagel.context import Piece, Workspace

Rows = dict[str, Tensor]

SUFFIX = {"und": "", "gen": "_moe_gen"}
"""What the release puts behind the names of an expert's modules."""


@dataclass(frozen=True)
class Query:
    """New rows to be read against one workspace; where they stand in the packed rows of each expert.

    Rows of ``und`` alone are in their order. With ``gen`` rows there are two of ``und``: the first opens, the last closes.
    """

    workspace: Workspace
    rope: Tensor
    und: slice
    gen: slice | None = None
    causal: bool = False

    def gather(self, packed: Mapping[str, Tensor]) -> Tensor:
        """This query's rows in the order of the sequence."""
        und = packed["und"][self.und]
        return und if self.gen is None else torch.cat([und[:1], packed["gen"][self.gen], und[1:]])

    def scatter(self, rows: Tensor) -> Rows:
        """Inverse of ``gather``, for this query alone."""
        return {"und": rows} if self.gen is None else {"und": torch.cat([rows[:1], rows[-1:]]), "gen": rows[1:-1]}


@dataclass(frozen=True)
class Batch:
    """Queries whose rows are packed one behind the other, so that each weight is read once for all of them."""

    queries: Sequence[Query]
    theta: float
    head_dim: int

    @cached_property
    def turns(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Cosine and sine [n, 1, head width / 2] of every row's rope angles, in fp32, by expert."""
        parts = [query.scatter(query.rope) for query in self.queries]
        positions = {expert: torch.cat([part[expert] for part in parts]) for expert in parts[0]}
        return {expert: rope(position, self.theta, self.head_dim) for expert, position in positions.items()}


def rope(positions: Tensor, theta: float, width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [n, 1, width / 2] for positions [n]."""
    frequencies = theta ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    angles = (positions.float()[:, None] * frequencies)[:, None]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the two halves of every head of [n, heads, width]."""
    first, second = x.float().chunk(2, -1)
    cos, sin = turn
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)


def attend(q: Tensor, keys: Tensor, values: Tensor, causal: bool) -> Tensor:
    """Queries [m, heads, width] over keys and values [kv heads, n, width] to [m, heads * width].

    Full, or causal with the last query at the last key. Without a mask the queries of all heads that share keys are rows of
    one matrix, so that no key is repeated.
    """
    if causal and len(q) > 1:
        mask = torch.ones(len(q), keys.shape[1], dtype=torch.bool, device=q.device).tril(keys.shape[1] - len(q))
        out = F.scaled_dot_product_attention(
            rearrange(q, "m h d -> 1 h m d"), keys[None], values[None], attn_mask=mask, enable_gqa=q.shape[1] != len(keys)
        )
        return rearrange(out, "1 h m d -> m (h d)")
    grouped = rearrange(q, "m (k g) d -> 1 k (g m) d", k=len(keys))
    out = F.scaled_dot_product_attention(grouped, keys[None], values[None])
    return rearrange(out, "1 k (g m) d -> m (k g d)", m=len(q))


class RMSNorm(nn.Module):
    """Computed in fp32, as released."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), x.shape[-1:], eps=self.eps).to(x.dtype) * self.weight


class MotAttention(nn.Module):
    """Projections and QK norms of both experts around one attention."""

    def __init__(self, size: LanguageSize) -> None:
        super().__init__()
        self.heads, self.kv_heads = size.num_attention_heads, size.num_key_value_heads
        width, inner, narrow = size.hidden_size, self.heads * size.head_dim, self.kv_heads * size.head_dim
        for suffix in SUFFIX.values():
            for name, out in (("q", inner), ("k", narrow), ("v", narrow)):
                self.add_module(f"{name}_proj{suffix}", nn.Linear(width, out))
            self.add_module(f"o_proj{suffix}", nn.Linear(inner, width, bias=False))
            for name in "qk":
                self.add_module(f"{name}_norm{suffix}", RMSNorm(size.head_dim, size.rms_norm_eps))

    def project(self, expert: str, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (both normed and rotated) and values of one expert's rows, [n, heads, head width]."""
        suffix = SUFFIX[expert]
        heads = {"q": self.heads, "k": self.kv_heads, "v": self.kv_heads}
        q, k, v = (rearrange(getattr(self, f"{name}_proj{suffix}")(x), "n (h d) -> n h d", h=heads[name]) for name in "qkv")
        q, k = (rotate(getattr(self, f"{name}_norm{suffix}")(y), turn) for name, y in (("q", q), ("k", k)))
        return q, k, v

    def forward(self, layer: int, rows: Rows, batch: Batch) -> Rows:
        projected = {expert: self.project(expert, x, batch.turns[expert]) for expert, x in rows.items()}
        q, k, v = ({expert: three[i] for expert, three in projected.items()} for i in range(3))
        parts = []
        for query in batch.queries:
            seen = query.workspace.put(layer, query.gather(k), query.gather(v))
            parts.append(query.scatter(attend(query.gather(q), *seen, query.causal)))
        joined = {expert: torch.cat([part[expert] for part in parts]) for expert in rows}
        return {expert: getattr(self, f"o_proj{SUFFIX[expert]}")(x) for expert, x in joined.items()}


class MotMlp(nn.Module):
    """One expert's gated MLP."""

    def __init__(self, size: LanguageSize) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(size.hidden_size, size.intermediate_size, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(size.intermediate_size, size.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class MotLayer(nn.Module):
    """One pre-norm layer, twice over."""

    def __init__(self, size: LanguageSize) -> None:
        super().__init__()
        self.self_attn = MotAttention(size)
        for suffix in SUFFIX.values():
            self.add_module(f"mlp{suffix}", MotMlp(size))
            self.add_module(f"input_layernorm{suffix}", RMSNorm(size.hidden_size, size.rms_norm_eps))
            self.add_module(f"post_attention_layernorm{suffix}", RMSNorm(size.hidden_size, size.rms_norm_eps))

    def _of(self, module: str, expert: str, x: Tensor) -> Tensor:
        return getattr(self, module + SUFFIX[expert])(x)

    def forward(self, layer: int, rows: Rows, batch: Batch) -> Rows:
        attended = self.self_attn(layer, {e: self._of("input_layernorm", e, x) for e, x in rows.items()}, batch)
        rows = {e: x + attended[e] for e, x in rows.items()}
        return {e: x + self._of("mlp", e, self._of("post_attention_layernorm", e, x)) for e, x in rows.items()}


class MotStack(nn.Module):
    """Embeddings, layers and the two last norms."""

    def __init__(self, size: LanguageSize) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(size.vocab_size, size.hidden_size)
        self.layers = nn.ModuleList(MotLayer(size) for _ in range(size.num_hidden_layers))
        self.norm, self.norm_moe_gen = (RMSNorm(size.hidden_size, size.rms_norm_eps) for _ in range(2))

    def forward(self, rows: Rows, batch: Batch) -> Rows:
        """The last layer's rows, not yet normed."""
        for index, layer in enumerate(self.layers):
            rows = layer(index, rows, batch)
        return rows


class MotLanguageModel(nn.Module):
    """The decoder and its word head."""

    def __init__(self, size: LanguageSize) -> None:
        super().__init__()
        self.size = size
        self.model = MotStack(size)
        self.lm_head = nn.Linear(size.hidden_size, size.vocab_size, bias=False)

    def forward(self, rows: Rows, queries: Sequence[Query] | Batch) -> Rows:
        """Run packed rows through all layers; new keys and values land in the queries' workspaces."""
        return self.model(rows, queries if isinstance(queries, Batch) else self.batch(queries))

    def batch(self, queries: Sequence[Query]) -> Batch:
        """Queries ready to be run, many times over if need be."""
        return Batch(queries, self.size.rope_theta, self.size.head_dim)

    def normed(self, rows: Rows) -> Rows:
        """The rows after each expert's last norm."""
        return {expert: getattr(self.model, f"norm{SUFFIX[expert]}")(x) for expert, x in rows.items()}

    def empty(self) -> Piece:
        """A piece of length 0."""
        size, like = self.size, self.model.embed_tokens.weight
        nothing = torch.empty(size.num_hidden_layers, size.num_key_value_heads, 0, size.head_dim, dtype=like.dtype, device=like.device)
        return Piece(nothing, nothing)
