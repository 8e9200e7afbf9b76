"""Sizes of STAR as rows of one table; what tiny does differently from the release is a field here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from unimm.star.decoder_config import SharpenerConfig
from unimm.star.vq import VQConfig


@dataclass(frozen=True)
class StarConfig:
    """Everything that tells one STAR from another.

    ``base`` holds the keyword arguments of the transformers class ``Qwen2_5_VLConfig``.
    The fields below ``picture`` are at the released behaviour by default.
    """

    name: str
    base: Mapping[str, Any]
    vq: VQConfig
    stack_layers: int
    adapter_depth: int
    picture: int = 384
    """Side in pixels of the square picture that the VQ reads and draws."""
    scale: int = 1
    """Whole-number factor from the VQ's pixels to the picture that is shown."""
    blocks: Literal["pixels_first", "understanding_first"] = "pixels_first"
    """Where the source's VQ tokens stand when editing: before the words (released) or after the thought,
    which lets one prefix serve understanding, thinking and drawing."""
    positions: Literal["released", "shared_grid"] = "released"
    """released: rope positions of the release (VQ tokens count on in one line). shared_grid: every picture
    token carries its row and column, counted from one origin for all pictures of the document, and a drawn
    token's input carries the place of the token that comes next; copying is then attention by position."""
    grid_stride: int = 1
    """Rope distance between neighbouring cells under ``shared_grid``: tiny heads need coarse angles."""
    grid_rows: int = 0
    """Size of the learned row and column embeddings added to picture tokens; 0 has none (released)."""
    stack_reads: int = 0
    """A layer of the base whose states the stack reads beside the last ones, through a projection of its own; 0 is
    none (released). The last states say what the base would say next; an early layer still knows which word it read."""
    stack_theta: float = 0.0
    """Base of the stack's rope where it is not that of the base model: what stands somewhere in the thought is found by what it says,
    and angles that turn fast hide that over some dozens of words. 0 is the base's (released)."""
    code_head: bool = False
    """Whether logits over the codebook also come from what the codes look like: rare codes then learn from those like them."""
    copies: bool = False
    """Whether a drawn token's logits have a learned bonus for the source's token of the same place: most of an edit is copied."""
    change_head: bool = False
    """Whether logits also come from how a code should look: as the source's of the same place, changed by what the stack says. A line
    across a cell is then one and the same change, whatever the cell held before."""
    fault_head: bool = False
    """Whether the base also says of every cell of a picture that it judges whether it is wrong, apart from the words of its verdict."""
    template: Literal["qwen", "plain"] = "qwen"
    """qwen: the released chat template. plain: one start and one end token a turn, no role words."""
    bf16_rope: bool = True
    """The release casts its rotary frequencies to bf16 (fact sheet: star, section 11.1)."""
    inspector: int = 0
    """Channels of the part that looks for damage in a judged picture, pixel by pixel; 0: there is none."""
    decoder: SharpenerConfig | None = None
    """The decoder that sharpens what the VQ draws, where its weights lie beside the others'; the released sizes have one of their own."""
    memory_gb: Mapping[str, float] = field(default_factory=dict)
    taught: tuple[str, ...] = ("maze",)
    """Tasks whose lessons the weights were trained on."""
    calibration: Mapping[str, float] = field(default_factory=dict)
    """Task -> temperature that makes the confidence of its verdicts a probability; fitted on validation problems."""

    @property
    def grid(self) -> int:
        """Tokens along one side of the VQ's square picture."""
        return self.picture // self.vq.factor

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StarConfig:
        decoder = SharpenerConfig.from_dict(data["decoder"]) if data.get("decoder") else None
        return cls(**{**_tuples(data), "vq": VQConfig(**_tuples(data["vq"])), "decoder": decoder})


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def qwen(hidden: int, inter: int, layers: int, heads: int, kv_heads: int, vocab: int, tied: bool, **vision: Any) -> dict[str, Any]:
    """Keyword arguments of ``Qwen2_5_VLConfig`` with the published constants filled in."""
    return {
        "text_config": {
            "hidden_size": hidden, "intermediate_size": inter, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "vocab_size": vocab, "tie_word_embeddings": tied, "rms_norm_eps": 1e-6,
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision_config": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": hidden, "patch_size": 14,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], **vision,
        },
        "tie_word_embeddings": tied,
    }  # fmt: skip


RELEASED_VQ = VQConfig(
    ch=256, encoder_ch_mult=(1, 2, 2, 4, 8), decoder_ch_mult=(1, 2, 2, 4, 8), num_res_blocks=2,
    z_channels=512, codebook_size=65536, codebook_dim=512, attn_heads=8,
)  # fmt: skip

TINY_VQ = VQConfig(
    ch=16, encoder_ch_mult=(1, 1, 2, 4, 8), decoder_ch_mult=(1, 1, 2, 4, 8), num_res_blocks=1, z_channels=64,
    codebook_size=16384, codebook_dim=32, attn_heads=0, groups=8, encoder="patch", decoder="patch", patch_hidden=384,
)  # fmt: skip

TINY_DECODER = SharpenerConfig.row(
    codes=32, scale=2, hidden_size=192, num_layers=3, num_refiner_layers=0, num_attention_heads=6, num_kv_heads=2, multiple_of=32,
    ffn_dim_multiplier=0.45, axes_dim_rope=(8, 12, 12), finish=16,
)  # fmt: skip


def _tiny_base() -> dict[str, Any]:
    base = qwen(
        256, 768, 5, 4, 4, 1536, True, depth=4, hidden_size=192, intermediate_size=512, num_heads=4, patch_size=16,
        spatial_merge_size=1, temporal_patch_size=1, window_size=256, fullatt_block_indexes=[0, 1, 2, 3],
    )  # fmt: skip
    base["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [8, 12, 12]}
    base["text_config"] |= {"max_position_embeddings": 2048, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return base


CONFIGS: dict[str, StarConfig] = {
    "tiny": StarConfig(
        "star-tiny", _tiny_base(), TINY_VQ, stack_layers=4, adapter_depth=2, picture=128, scale=2, blocks="understanding_first",
        positions="shared_grid", grid_stride=12, grid_rows=16, stack_reads=1, stack_theta=10000.0, code_head=True, copies=True,
        change_head=True, fault_head=True, inspector=32, template="plain", bf16_rope=False, decoder=TINY_DECODER,
        memory_gb={"float32": 0.1}, taught=("maze", "geometry", "compose"),
    ),
    "3b": StarConfig("star-3b", qwen(2048, 11008, 36, 16, 2, 151936, True), RELEASED_VQ, stack_layers=16, adapter_depth=2,
                     memory_gb={"bfloat16": 12.5}),
    "7b": StarConfig("star-7b", qwen(3584, 18944, 28, 28, 4, 152064, False), RELEASED_VQ, stack_layers=14, adapter_depth=4,
                     memory_gb={"bfloat16": 26.0}),
}  # fmt: skip
