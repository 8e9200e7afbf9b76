"""Sizes and settings of STAR's diffusion decoder: the published row, and what a folder says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from unimm.errors import BadInput


@dataclass(frozen=True)
class LuminaConfig:
    """The diffusion transformer; the defaults are those of the released Lumina-Image-2.0 with STAR's map of codes."""

    hidden_size: int = 2304
    num_layers: int = 26
    num_refiner_layers: int = 2
    num_attention_heads: int = 24
    num_kv_heads: int = 8
    multiple_of: int = 256
    ffn_dim_multiplier: float | None = None
    norm_eps: float = 1e-5
    patch_size: int = 2
    latent_channels: int = 16
    vq_dim: int = 512
    axes_dim_rope: tuple[int, ...] = (32, 32, 32)
    cap_feat_dim: int = 2304
    references: int = 5
    extra_channels: int = 0
    """Further channels behind the codes, for what else the picture is made from; the release has none."""
    variant: Literal["seq", "ref", "plain"] = "seq"


PUBLISHED_VAE: Mapping[str, Any] = {
    "in_channels": 3, "out_channels": 3, "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 16, "norm_num_groups": 32, "sample_size": 1024,
    "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False, "use_post_quant_conv": False,
    "mid_block_add_attention": True, "force_upcast": True,
}  # fmt: skip

PUBLISHED_GEMMA: Mapping[str, Any] = {
    "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
    "head_dim": 256, "vocab_size": 256000, "query_pre_attn_scalar": 256, "sliding_window": 4096, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_activation": "gelu_pytorch_tanh", "attn_logit_softcapping": 50.0,
}  # fmt: skip


@dataclass(frozen=True)
class SharpenerConfig:
    """The embedded model's decoder: the same transformer over shown pixels, without words, autoencoder and guidance.

    A latent is a square of ``block`` x ``block`` shown pixels, its channels are their values. So ``latent_channels`` is
    3 block²; ``extra_channels`` are the VQ's pixels of that square, the source's and one that tells which of these holds.
    """

    transformer: LuminaConfig
    block: int = 8
    steps: int = 4
    shift: float = 1.0
    """How far the noise levels are bent towards noise; 1 leaves them even."""
    finish: int = 0
    """Channels of the convolutions that go over the shown pixels last; 0 is without them."""

    @classmethod
    def row(cls, codes: int, scale: int, block: int = 8, finish: int = 0, **transformer: Any) -> SharpenerConfig:
        """The config whose channels fit codes of width ``codes`` and a picture shown at ``scale`` times the VQ's pixels."""
        own, drawn = 3 * block**2, 3 * (block // scale) ** 2
        sizes = {"latent_channels": own, "vq_dim": codes, "extra_channels": drawn + own + 1, "cap_feat_dim": 1, "variant": "plain"}
        return cls(LuminaConfig(**{**sizes, **transformer}), block, finish=finish)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SharpenerConfig:
        row = {key: tuple(value) if isinstance(value, list) else value for key, value in data["transformer"].items()}
        return cls(**{**data, "transformer": LuminaConfig(**row)})


@dataclass(frozen=True)
class DecoderConfig:
    """Transformer, picture autoencoder (keyword arguments of ``AutoencoderKL``), text encoder (of ``Gemma2Config``) and schedule."""

    transformer: LuminaConfig = LuminaConfig()
    vae: Mapping[str, Any] = field(default_factory=lambda: PUBLISHED_VAE)
    text_encoder: Mapping[str, Any] = field(default_factory=lambda: PUBLISHED_GEMMA)
    shift: float = 6.0
    """How far the noise levels are bent towards noise. From memory of the published scheduler; its config file wins."""
    train_steps: int = 1000
    resolution: int = 1024
    softcap: bool = False
    """The release ran Gemma-2 without capping its attention logits; newer libraries cap them."""

    @property
    def factor(self) -> int:
        """Pixels per latent along one side."""
        return 2 ** (len(self.vae["block_out_channels"]) - 1)


def read_decoder(data: Mapping[str, Any], stock: Mapping[str, Mapping[str, Any]] | None = None) -> DecoderConfig:
    """The decoder of a released ``config.json``: its ``tiny`` block, else the published row.

    ``stock`` holds the parts' own config files where a Lumina folder lies beside ("transformer", "vae", "text_encoder", "scheduler").
    """
    tiny, run = data.get("tiny", {}), data.get("tiny", {}).get("run_args", {})
    rows = dict(stock or {})
    if toy := tiny.get("diffusion_decoder"):
        rows |= {"transformer": toy["transformer"], "vae": toy["vae"], "text_encoder": toy["text_encoder_gemma2"]}
        rows["scheduler"] = toy["scheduler"]
    scheduler = rows.get("scheduler", {})
    if scheduler.get("use_dynamic_shifting"):
        raise BadInput("This scheduler shifts its noise levels by picture size; STAR's decoder uses one fixed shift.")
    variant = run.get("ori_inp_dit", "seq")
    return DecoderConfig(
        transformer=read_lumina(rows.get("transformer", {}), variant, data["pixel_encoder"]["n_embed"]),
        vae=_plain(rows.get("vae", PUBLISHED_VAE)), text_encoder=_plain(rows.get("text_encoder", PUBLISHED_GEMMA)),
        shift=scheduler.get("shift", 6.0), train_steps=scheduler.get("num_train_timesteps", 1000),
        resolution=run.get("diffusion_resolution", run.get("vq_image_size", 1024)),
    )  # fmt: skip


def read_lumina(row: Mapping[str, Any], variant: str, vq_dim: int) -> LuminaConfig:
    """A transformer's config file; a stock one knows nothing of the map of codes, which is ``vq_dim`` wide."""
    if variant not in ("seq", "ref"):
        raise BadInput(f"ori_inp_dit must be 'seq' or 'ref', not {variant!r}.")
    known = {item.name for item in fields(LuminaConfig)}
    own = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key in known}
    channels = row.get("latent_channels") or row.get("out_channels") or (row.get("in_channels") if "vq_dim" not in row else None)
    return replace(LuminaConfig(), **{"vq_dim": vq_dim, **({"latent_channels": channels} if channels else {}), **own, "variant": variant})


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.startswith("_")}
