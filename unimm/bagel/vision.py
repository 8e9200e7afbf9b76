"""The SigLIP tower as BAGEL runs it: any number of patches, no padding, no pooling (fact sheet: bagel, section 6).

Module names are the published keys.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from unimm.bagel.config import VisionSize


class VisionAttention(nn.Module):
    """Every patch of one picture sees all others."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.heads = size.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(size.hidden_size, size.hidden_size) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (rearrange(layer(x), "n (h d) -> 1 h n d", h=self.heads) for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(rearrange(F.scaled_dot_product_attention(q, k, v), "1 h n d -> n (h d)"))


class VisionMlp(nn.Module):
    """Two layers with the tanh GELU; also the connector to the decoder."""

    def __init__(self, width: int, inner: int, out: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    """One pre-norm layer."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(size.hidden_size, size.layer_norm_eps) for _ in range(2))
        self.self_attn = VisionAttention(size)
        self.mlp = VisionMlp(size.hidden_size, size.intermediate_size, size.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionEmbeddings(nn.Module):
    """Flat patches and their places to rows; the patch weight is a matrix over (row in patch, column in patch, channel)."""

    def __init__(self, size: VisionSize, side: int) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(size.patch_size**2 * size.num_channels, size.hidden_size)
        self.position_embedding = nn.Embedding(side * side, size.hidden_size)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        return self.patch_embedding(patches) + self.position_embedding(places)


class VisionTransformer(nn.Module):
    """Patches [n, patch * patch * 3] at ``places`` [n] to features [n, width], after the last norm."""

    def __init__(self, size: VisionSize, side: int) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(size, side)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(VisionLayer(size) for _ in range(size.num_hidden_layers))})
        self.post_layernorm = nn.LayerNorm(size.hidden_size, size.layer_norm_eps)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        x = self.embeddings(patches, places)
        for layer in self.encoder["layers"]:
            x = layer(x)
        return self.post_layernorm(x)
