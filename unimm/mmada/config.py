"""Sizes and special ids of an MMaDA: read from the published ``config.json`` files, or a row of ``PUBLISHED``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from unimm.errors import BadInput

TEXT_LENGTH = 512
"""Most text columns before a picture (M), as the released checkpoints were last trained."""

_PLAIN = {
    "block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu", "rope": True, "alibi": False,
    "attention_layer_norm": False, "input_emb_norm": False, "scale_logits": False, "bias_for_layer_norm": False,
}  # fmt: skip
"""Fields of a LLaDA config that have other values in other models; this code is for these values only."""


@dataclass(frozen=True)
class BackboneConfig:
    """The transformer (fact sheet mmada, section 2). ``rows`` is the length of both vocabulary tables."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    rows: int
    rope_theta: float
    eps: float
    context: int
    codes: int
    slots: int
    mask: int
    eos: int
    bias: bool = False
    qkv_bias: bool = False
    tied: bool = False

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads, self.kv_heads, self.hidden, self.rows, self.codes, self.slots) < 1:
            raise BadInput("config.json holds a size below 1. Restore it from the repository.")
        if self.width % (2 * self.heads) or self.heads % self.kv_heads:
            raise BadInput("config.json does not fit together: d_model must divide by 2 n_heads, and n_heads by n_kv_heads.")

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def parameters(self) -> int:
        """Weights of the backbone, biases left out."""
        kv = self.width * self.kv_heads * self.head_dim
        block = 2 * self.width**2 + 2 * kv + 3 * self.width * self.hidden + 2 * self.width
        return (1 if self.tied else 2) * self.rows * self.width + self.layers * block + self.width

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BackboneConfig:
        """Read a published ``config.json``; raises ``BadInput`` where it is another model's or lacks a size."""
        if data.get("model_type") != "mmada":
            raise BadInput(f"This config.json is of model type {data.get('model_type')!r}, not 'mmada'. Check the folder.")
        for name, value in _PLAIN.items():
            if data.get(name, value) != value:
                raise BadInput(f"config.json has {name} = {data[name]!r}; MMaDA checkpoints have {value!r}. Check the folder.")
        try:
            heads = data["n_heads"]
            kv_heads = 1 if data.get("multi_query_attention") else data.get("n_kv_heads") or heads
            config = cls(
                width=data["d_model"], layers=data["n_layers"], heads=heads, kv_heads=kv_heads,
                hidden=data.get("mlp_hidden_size") or data["mlp_ratio"] * data["d_model"],
                rows=data.get("embedding_size") or data["vocab_size"], rope_theta=float(data.get("rope_theta", 10000.0)),
                eps=float(data.get("rms_norm_eps", 1e-5)), context=data["max_sequence_length"], codes=data["codebook_size"],
                slots=data["num_vq_tokens"], mask=data["mask_token_id"], eos=data["eos_token_id"],
                bias=bool(data.get("include_bias")), qkv_bias=bool(data.get("include_qkv_bias")), tied=bool(data.get("weight_tying")),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"config.json lacks a size of MMaDA or holds one that is no number ({error}). Restore it.") from error
        return config.as_trained()

    def as_trained(self) -> BackboneConfig:
        """A stored config of the released size may still speak of 256 slots; the weights were trained with 1024 (section 2)."""
        row = PUBLISHED["mmada-8b"]
        same = all(getattr(self, name) == getattr(row, name) for name in ("width", "layers", "heads", "hidden", "rows"))
        return replace(self, slots=row.slots) if same else self


PUBLISHED = {
    "mmada-8b": BackboneConfig(
        width=4096, layers=32, heads=32, kv_heads=32, hidden=12288, rows=134656, rope_theta=500000.0, eps=1e-5, context=4096, codes=8192,
        slots=1024, mask=126336, eos=126081,
    ),
}  # fmt: skip
"""The released sizes; Base and MixCoT are the same."""

REPOSITORIES = {"mmada-8b-base": "Gen-Verse/MMaDA-8B-Base", "mmada-8b-mixcot": "Gen-Verse/MMaDA-8B-MixCoT", "vq": "showlab/magvitv2"}
"""Where the weights are published."""


@dataclass(frozen=True)
class SpecialIds:
    """Ids that are no words (section 3). ``offset`` is the id of picture code 0: the length of the tokenizer."""

    bos: int
    eos: int
    soi: int
    eoi: int
    t2i: int
    mmu: int
    ipad: int
    r2i: int
    mask: int
    start_header: int
    end_header: int
    eot: int
    offset: int

    @classmethod
    def placed(cls, eos: int, mask: int) -> SpecialIds:
        """All ids from two of them: the published vocabulary's distances, which smaller instances keep."""
        return cls(
            bos=eos - 1, eos=eos, soi=eos + 3, eoi=eos + 4, t2i=eos + 7, mmu=eos + 8, ipad=eos + 12, r2i=eos + 13, mask=mask,
            start_header=mask + 10, end_header=mask + 11, eot=mask + 12, offset=mask + 13,
        )  # fmt: skip

    @classmethod
    def from_names(cls, ids: Mapping[str, int]) -> SpecialIds:
        """From a mapping under these very names, the offset as ``tokenizer_len``."""
        named = {row.name: ids[row.name] for row in fields(cls) if row.name != "offset"}
        return cls(**named, offset=ids["tokenizer_len"])


@dataclass(frozen=True)
class VQConfig:
    """MAGVIT-v2 (section 5); ``resolution`` is nominal and decides only at which levels attention stands."""

    ch: int = 128
    encoder_mult: tuple[int, ...] = (1, 2, 2, 4, 4)
    encoder_blocks: tuple[int, ...] = (4, 3, 4, 3, 4)
    decoder_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    decoder_blocks: tuple[int, ...] = (4, 4, 3, 4, 3)
    decoder_ch: int = 128
    bits: int = 13
    resolution: int = 256
    attention_at: tuple[int, ...] = (5,)
    groups: int = 32
    eps: float = 1e-6

    def __post_init__(self) -> None:
        levels = {len(self.encoder_mult), len(self.encoder_blocks), len(self.decoder_mult), len(self.decoder_blocks)}
        if len(levels) != 1:
            raise BadInput("The picture tokenizer's config.json names a different number of levels in different places. Restore it.")

    @property
    def factor(self) -> int:
        """Pixels per code along one side."""
        return 2 ** (len(self.encoder_mult) - 1)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VQConfig:
        """Read a tokenizer's ``config.json``; the published one carries no sizes and stands for the defaults."""
        try:
            if "encoder" not in data:
                return cls()
            one, two = data["encoder"], data["decoder"]
            return cls(
                ch=one["ch"], encoder_mult=tuple(one["ch_mult"]), encoder_blocks=tuple(one["num_res_blocks"]), decoder_ch=two["ch"],
                decoder_mult=tuple(two["ch_mult"]), decoder_blocks=tuple(two["num_res_blocks"]), bits=one["z_channels"],
                resolution=one.get("resolution", 256), attention_at=tuple(one.get("attn_resolutions", (5,))),
                groups=data.get("norm_groups", 32), eps=data.get("norm_eps", 1e-6),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise BadInput(f"The picture tokenizer's config.json lacks a size or is another model's ({error}). Restore it.") from error
