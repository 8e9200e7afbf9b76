"""Sizes and ids of an Emu3, read from the config of either layout (fact sheet: janus_pro_emu3, sections 2 and 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import Emu3Config
from transformers.models.emu3.configuration_emu3 import Emu3TextConfig, Emu3VQVAEConfig

ORIGINAL_LANGUAGE, ORIGINAL_CODEC, NATIVE = "Emu3", "Emu3VisionVQ", "emu3"
"""``model_type`` in the three kinds of ``config.json``."""

PUBLISHED: dict[str, dict[str, Any]] = {
    "stage1": {"repository": "BAAI/Emu3-Stage1", "area": 512 * 512, "sides": ("chat", "gen")},
    "chat": {"repository": "BAAI/Emu3-Chat", "positions": 131072, "area": 512 * 512, "sides": ("chat",)},
    "gen": {"repository": "BAAI/Emu3-Gen", "positions": 9216, "area": 720 * 720, "sides": ("gen",)},
}
PUBLISHED_VOCABULARY = 184622
PIXELS = (512 * 512, 1024 * 1024)
"""Published bounds of the area of a picture that Chat reads."""

NAMES = {
    "pad": "<|endoftext|>", "bos": "<|extra_203|>", "eos": "<|extra_204|>", "eol": "<|extra_200|>", "eof": "<|extra_201|>",
    "img": "<|image token|>", "boi": "<|image start|>", "eoi": "<|image end|>",
}  # fmt: skip
VISUAL = "<|visual token {:06d}|>"
PUBLISHED_IDS = {
    "pad": 151643, "bos": 151849, "eos": 151850, "eol": 151846, "eof": 151847, "img": 151851, "boi": 151852, "eoi": 151853,
}  # fmt: skip
PLACEHOLDER_AFTER_PAD = 3
"""The native placeholder ``<image>`` is the third control token after the pad."""


@dataclass(frozen=True)
class Ids:
    """Control ids; ids below ``pad`` are words, picture code k is ``visual + k``."""

    pad: int
    bos: int
    eos: int
    eol: int
    eof: int
    img: int
    boi: int
    eoi: int
    visual: int
    codes: int

    @property
    def visual_slice(self) -> slice:
        """Where the codes lie in the vocabulary: contiguous, so the head needs only these rows to draw."""
        return slice(self.visual, self.visual + self.codes)

    def vocabulary_map(self) -> dict[str, int]:
        """Names of control ids and codes, as the native config wants them."""
        named = {name: getattr(self, field) for field, name in NAMES.items()}
        codes = {VISUAL.format(code): self.visual + code for code in range(self.codes)}
        return {"<image>": self.pad + PLACEHOLDER_AFTER_PAD, **named, **codes}


@dataclass(frozen=True)
class LanguageConfig:
    """A decoder: its native config, its ids, and the pixel area it was trained to draw."""

    text: Emu3TextConfig
    ids: Ids
    area: int

    @property
    def positions(self) -> int:
        return self.text.max_position_embeddings

    @property
    def sides(self) -> tuple[str, ...]:
        """What this decoder can serve as: the published Chat and Gen only as themselves, any other as both."""
        for row in PUBLISHED.values():
            if self.text.vocab_size == PUBLISHED_VOCABULARY and self.positions == row.get("positions"):
                return row["sides"]
        return ("chat", "gen")


def read_language(data: Mapping[str, Any], codec: Emu3VQVAEConfig) -> LanguageConfig:
    """The decoder's part of either layout's config; raises KeyError, TypeError or ValueError for what is none."""
    if data.get("model_type") == NATIVE:
        text, ids = Emu3Config.from_dict(dict(data)).text_config, _native_ids(data, codec)
    else:
        text, ids = _original_text(data), _original_ids(data, codec)
    if ids.visual + ids.codes > text.vocab_size:
        raise ValueError(f"{ids.codes} picture codes from id {ids.visual} on do not fit a vocabulary of {text.vocab_size}")
    factor = 2 ** (len(codec.channel_multiplier) - 1)
    return LanguageConfig(text, ids, int(data.get("image_area") or _area(text.max_position_embeddings, factor)))


def _original_text(data: Mapping[str, Any]) -> Emu3TextConfig:
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "max_position_embeddings")  # fmt: skip
    return Emu3TextConfig(
        **{name: data[name] for name in names},
        rms_norm_eps=data.get("rms_norm_eps", 1e-5),
        rope_parameters={"rope_type": "default", "rope_theta": float(data.get("rope_theta", 1e6))},
        hidden_act=data.get("hidden_act", "silu"),
        attention_dropout=data.get("attention_dropout", 0.1),
        tie_word_embeddings=data.get("tie_word_embeddings", False),
        **{f"{name}_token_id": data.get(f"{name}_token_id", PUBLISHED_IDS[name]) for name in ("pad", "bos", "eos")},
    )


def _original_ids(data: Mapping[str, Any], codec: Emu3VQVAEConfig) -> Ids:
    """The original names no code: they follow the last control id."""
    named = {name: int(data.get(f"{name}_token_id", published)) for name, published in PUBLISHED_IDS.items()}
    return Ids(**named, visual=named["eoi"] + 1, codes=codec.codebook_size)


def _native_ids(data: Mapping[str, Any], codec: Emu3VQVAEConfig) -> Ids:
    known = data["vocabulary_map"]
    return Ids(**{field: int(known[name]) for field, name in NAMES.items()}, visual=int(known[VISUAL.format(0)]), codes=codec.codebook_size)


def _area(positions: int, factor: int) -> int:
    """The largest published picture that fits the context beside a prompt, else half of the context."""
    for row in sorted({row["area"] for row in PUBLISHED.values()}, reverse=True):
        if row / factor**2 * 1.02 + 512 <= positions:
            return row
    return positions // 2 * factor**2


def read_codec(data: Mapping[str, Any]) -> Emu3VQVAEConfig:
    """The codec's part of either layout's config. The attention's width is not in the original file: it is the deepest level's."""
    if data.get("model_type") == NATIVE:
        return Emu3Config.from_dict(dict(data)).vq_config
    return Emu3VQVAEConfig(
        codebook_size=data["codebook_size"], embed_dim=data["embed_dim"], latent_channels=data["z_channels"],
        double_latent=data["double_z"], in_channels=data["in_channels"], out_channels=data["out_channels"],
        temporal_downsample_factor=data["temporal_downsample_factor"], base_channels=data["ch"], channel_multiplier=list(data["ch_mult"]),
        num_res_blocks=data["num_res_blocks"], attn_resolutions=list(data["attn_resolutions"]),
        hidden_size=data["ch"] * data["ch_mult"][-1], num_attention_heads=1, attention_dropout=data.get("dropout", 0.0),
    )  # fmt: skip
