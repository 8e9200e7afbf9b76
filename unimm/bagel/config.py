"""Sizes of a BAGEL: read from a folder's json files, or the published row (fact sheet: bagel, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from unimm.bagel.pictures import ResizeRule
from unimm.errors import MissingWeights
from unimm.weights import read_json


@dataclass(frozen=True)
class LanguageSize:
    """The decoder; every layer holds these sizes twice."""

    hidden_size: int = 3584
    intermediate_size: int = 18944
    num_hidden_layers: int = 28
    num_attention_heads: int = 28
    num_key_value_heads: int = 4
    vocab_size: int = 152064
    max_position_embeddings: int = 32768
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class VisionSize:
    """The SigLIP tower; ``num_hidden_layers`` counts what is run, one less than the published file says."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 26
    num_attention_heads: int = 16
    patch_size: int = 14
    num_channels: int = 3
    layer_norm_eps: float = 1e-6


@dataclass(frozen=True)
class AutoencoderSize:
    """The FLUX autoencoder and the affine map from its latents to the model's."""

    in_channels: int = 3
    out_ch: int = 3
    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 16
    scale_factor: float = 0.3611
    shift_factor: float = 0.1159

    @property
    def factor(self) -> int:
        """Pixels per latent along one side."""
        return 2 ** (len(self.ch_mult) - 1)


@dataclass(frozen=True)
class BagelConfig:
    """A whole BAGEL. ``latent_side`` and ``patch_side`` are the sides of the two tables of places."""

    language: LanguageSize = LanguageSize()
    vision: VisionSize = VisionSize()
    autoencoder: AutoencoderSize = AutoencoderSize()
    latent_patch: int = 2
    latent_side: int = 64
    patch_side: int = 70
    vae_rule: ResizeRule = field(default_factory=lambda: ResizeRule(1024, 512, 16))
    vit_rule: ResizeRule = field(default_factory=lambda: ResizeRule(980, 224, 14))

    @property
    def name(self) -> str:
        return next((name for name, row in CONFIGS.items() if row == self), "BAGEL")

    @property
    def token_pixels(self) -> int:
        """Pixels per drawn token along one side."""
        return self.autoencoder.factor * self.latent_patch

    @property
    def full_side(self) -> int:
        """Pixels along the longest side that the table of latent places holds."""
        return self.latent_side * self.token_pixels

    @property
    def latent_width(self) -> int:
        """Numbers in one latent token."""
        return self.latent_patch**2 * self.autoencoder.z_channels


CONFIGS: dict[str, BagelConfig] = {"BAGEL-7B-MoT": BagelConfig()}
"""Published sizes."""

MEMORY_GB: dict[str, dict[str, float]] = {"BAGEL-7B-MoT": {"float32": 58.8, "bfloat16": 29.6}}
"""Weights alone, autoencoder in fp32 (fact sheet: bagel, section 3)."""


def with_tables(config: BagelConfig, latent_side: int, patch_side: int) -> BagelConfig:
    """The config with other tables of places, and the resize rules that go with them in the published proportions."""
    stride, patch = config.token_pixels, config.vision.patch_size
    vae = ResizeRule(latent_side * stride, max(1, latent_side // 2) * stride, stride)
    vit = ResizeRule(patch_side * patch, max(1, round(patch_side * 16 / 70)) * patch, patch)
    return replace(config, latent_side=latent_side, patch_side=patch_side, vae_rule=vae, vit_rule=vit)


def read_config(folder: Path) -> BagelConfig:
    """Read ``llm_config.json`` and ``vit_config.json``, and of ``config.json`` what it says; raises ``MissingWeights``.

    As in the release the tower's last layer is dropped, and QK norm, doubled layers and an untied head are always on,
    whatever the files say.
    """
    whole = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if whole.get("model_type", "bagel") != "bagel":
        raise MissingWeights(f"{folder.name} holds a {str(whole['model_type'])[:40]!r} model, not BAGEL. Give the folder of a BAGEL.")
    try:
        language = _take(LanguageSize, read_json(folder / "llm_config.json"), folder / "llm_config.json", "qwen2")
        vision = _take(VisionSize, read_json(folder / "vit_config.json"), folder / "vit_config.json", "siglip_vision_model")
        vae = dict(whole.get("vae_config", {}))
        autoencoder = replace(AutoencoderSize(), **{key: value for key, value in vae.items() if key in _names(AutoencoderSize)})
        autoencoder = replace(autoencoder, ch_mult=tuple(autoencoder.ch_mult))
        config = BagelConfig(
            language, replace(vision, num_hidden_layers=vision.num_hidden_layers - 1), autoencoder,
            latent_patch=int(whole.get("latent_patch_size", BagelConfig.latent_patch)),
        )  # fmt: skip
        sides = (whole.get("max_latent_size", config.latent_side), whole.get("vit_max_num_patch_per_side", config.patch_side))
        return with_tables(config, int(sides[0]), int(sides[1]))
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise MissingWeights(f"The json files in {folder.name} are not those of a BAGEL: {error}. Fetch them again.") from error


def _names(kind: type) -> set[str]:
    return {row.name for row in fields(kind)}


def _take(kind: type, data: dict[str, Any], path: Path, model_type: str) -> Any:
    """The fields of ``kind`` from a json file. Sizes have to be there; constants may be left to the published ones."""
    if data.get("model_type", model_type) not in (model_type, model_type.removesuffix("_vision_model")):
        raise MissingWeights(f"{path.name} in {path.parent.name} describes a {str(data['model_type'])[:40]!r}, not BAGEL's {model_type!r}.")
    needed = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}
    if absent := sorted(needed - set(data)):
        raise MissingWeights(f"{path.name} in {path.parent.name} lacks {', '.join(absent)}. Fetch the json files again.")
    size = kind(**{key: value for key, value in data.items() if key in _names(kind)})
    for row in fields(size):
        number = getattr(size, row.name)
        if isinstance(number, bool) or not isinstance(number, (int, float) if isinstance(row.default, float) else int) or number <= 0:
            raise ValueError(f"{row.name} is {str(number)[:40]!r} in {path.name}")
    if size.hidden_size % size.num_attention_heads:
        raise ValueError(f"{size.num_attention_heads} heads do not divide a width of {size.hidden_size} in {path.name}")
    return size
