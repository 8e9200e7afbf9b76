"""Janus-Pro's two published layouts, read into the one class that transformers has for it.

The traps (fact sheet, 1.2): the two word matrices are not tied whatever the library's default says, and the library's
codec compares without normalising, so the codebook's rows are brought to unit length here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import JanusConfig, JanusForConditionalGeneration, JanusVisionConfig, JanusVQVAEConfig, LlamaConfig

from unimm import weights
from unimm.errors import MissingWeights
from unimm.janus.config import CODECS, TOWERS, Codec, SpecialIds, Tower
from unimm.weights import State, read_json

CODEBOOK = "model.vqmodel.quantize.embedding.weight"

NAMES = [
    (r"language_model\.model\.", "model.language_model."),
    (r"language_model\.lm_head\.", "lm_head."),
    (r"vision_model\.vision_tower\.patch_embed\.proj\.", "model.vision_model.embeddings.patch_embedding."),
    (r"vision_model\.vision_tower\.pos_embed$", "model.vision_model.embeddings.position_embedding.weight"),
    (r"vision_model\.vision_tower\.blocks\.(\d+)\.norm([12])\.", r"model.vision_model.encoder.layers.\1.layer_norm\2."),
    (r"vision_model\.vision_tower\.blocks\.(\d+)\.attn\.proj\.", r"model.vision_model.encoder.layers.\1.self_attn.projection_layer."),
    (r"vision_model\.vision_tower\.blocks\.(\d+)\.attn\.", r"model.vision_model.encoder.layers.\1.self_attn."),
    (r"vision_model\.vision_tower\.blocks\.(\d+)\.mlp\.", r"model.vision_model.encoder.layers.\1.mlp."),
    (r"vision_model\.vision_tower\.norm\.", "model.vision_model.post_layernorm."),
    (r"aligner\.layers\.0\.", "model.aligner.fc1."),
    (r"gen_aligner\.layers\.0\.", "model.generation_aligner.fc1."),
    (r"gen_embed\.", "model.generation_embeddings."),
    (r"gen_head\.output_mlp_projector\.", "model.generation_head.proj_out."),
    (r"gen_head\.vision_head\.", "model.generation_head.vision_head."),
    (r"gen_vision_model\.encoder\.conv_blocks\.(\d+)\.", r"model.vqmodel.encoder.down.\1."),
    (r"gen_vision_model\.decoder\.conv_blocks\.(\d+)\.", r"model.vqmodel.decoder.up.\1."),
    (r"gen_vision_model\.(encoder|decoder)\.mid\.0\.", r"model.vqmodel.\1.mid.block_1."),
    (r"gen_vision_model\.(encoder|decoder)\.mid\.1\.", r"model.vqmodel.\1.mid.attn_1."),
    (r"gen_vision_model\.(encoder|decoder)\.mid\.2\.", r"model.vqmodel.\1.mid.block_2."),
    (r"gen_vision_model\.", "model.vqmodel."),
]
"""How a name of the original begins, and what stands there instead; the first that fits applies (fact sheet, 1.2)."""

UNUSED = ("vision_model.vision_tower.attn_pool.", "gen_vision_model.quantize.codebook_used")


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds: sizes, weights under the names of transformers, pixels of a picture's least side when scaled."""

    config: JanusConfig
    state: State
    min_side: int = 14


def home(path: Path) -> Path:
    """The folder with the ``config.json``: ``path`` itself or its ``original``; raises ``MissingWeights``."""
    for folder in (path, path / "original"):
        if (folder / "config.json").is_file():
            return folder
    raise MissingWeights(f"There is no config.json in {path}. Give the folder that Janus-Pro was downloaded to.")


def toy_notes(folder: Path) -> dict[str, Any]:
    """What a folder of toy weights says in the ``cases.json`` in it or above it: sizes and ids that a config of a release implies."""
    for place in (folder, folder.parent):
        if (place / "cases.json").is_file():
            return read_json(place / "cases.json")
    return {}


def read(folder: Path) -> Checkpoint:
    """Read a folder in either layout; raises ``MissingWeights`` that says what is wrong with it."""
    data = read_json(folder / "config.json")
    kind = data.get("model_type")
    if kind not in ("janus", "multi_modality"):
        raise MissingWeights(f"{folder / 'config.json'} describes a model of type {kind!r}, not Janus-Pro. Give the folder of Janus-Pro.")
    try:
        config = original_config(data, toy_notes(folder).get("dims")) if kind == "multi_modality" else native_config(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MissingWeights(f"{folder / 'config.json'} lacks what Janus-Pro needs ({error}). Fetch it again.") from error
    state = read_state(folder)
    if kind == "multi_modality":
        state = from_original(state)
    path = folder / "preprocessor_config.json"
    return Checkpoint(config, state, int(read_json(path).get("min_size", 14)) if path.is_file() else 14)


def read_state(folder: Path) -> State:
    """All tensors of a folder, from safetensors or from pickles (which run nothing), whole or in shards."""
    if (folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file():
        return weights.read_state(folder)
    index, single = folder / "pytorch_model.bin.index.json", folder / "pytorch_model.bin"
    if not index.is_file():
        if single.is_file():
            return weights.read_state(single)
        raise MissingWeights(f"{folder} holds neither model.safetensors nor pytorch_model.bin. Download the weights of Janus-Pro to it.")
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict):
        raise MissingWeights(f"{index} is damaged. Fetch it again.")
    state: State = {}
    for name in sorted(set(places.values())):
        state |= weights.read_state(folder / Path(name).name)
    return state


def from_original(state: State) -> State:
    """Weights under DeepSeek's names, under those of transformers. A name that belongs to neither stays as it is."""
    renamed: State = {}
    for key, value in state.items():
        if key.startswith(UNUSED):
            continue
        name = _renamed(key)
        if ".attn.qkv." in key:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                renamed[name.replace(".qkv.", f".{part}_proj.")] = rows
        else:
            renamed[name] = value[0] if key.endswith(".pos_embed") else value
    return renamed


def _renamed(key: str) -> str:
    if layer := re.match(r"(gen_)?aligner\.layers\.(\d*[2468]|\d+0)\.", key):
        # Every second of the original's layers is an activation.
        whose = "generation_aligner" if layer[1] else "aligner"
        return f"model.{whose}.hidden_layers.{int(layer[2]) // 2 - 1}.{key[layer.end() :]}"
    for old, new in NAMES:
        name, hits = re.subn(f"^{old}", new, key)
        if hits:
            return name.replace(".res.", ".block.") if key.startswith("gen_vision_model.") else name
    return key


def original_config(data: dict[str, Any], dims: dict[str, Any] | None = None) -> JanusConfig:
    """The config of transformers for an original ``config.json``; ``dims`` are the sizes of a toy behind its made-up names.

    Raises ``KeyError`` for names whose sizes are not known.
    """
    vision, codes = data["vision_config"]["params"], data["gen_vision_config"]
    tower = _toy_tower(dims) if dims else TOWERS[vision["model_name"]]
    codec = _toy_codec(dims) if dims else CODECS[codes["cls"]]
    if vision["image_size"] % tower.patch or vision.get("select_layer", -1) != -1:
        raise ValueError("a picture that patches do not cover, or another layer than the last")
    language = {key: value for key, value in data["language_config"].items() if key not in ("model_type", "torch_dtype")}
    width = data["aligner_config"]["params"]["n_embed"]
    return untied(JanusConfig(
        text_config=LlamaConfig(**{"tie_word_embeddings": False} | language),
        vision_config=JanusVisionConfig(
            hidden_size=tower.width, num_hidden_layers=tower.layers, num_attention_heads=tower.heads, patch_size=tower.patch,
            mlp_ratio=tower.mlp_ratio, image_size=vision["image_size"], projection_dim=width,
            depth=data["aligner_config"]["params"]["depth"], num_image_tokens=(vision["image_size"] // tower.patch) ** 2,
        ),
        vq_config=JanusVQVAEConfig(
            embed_dim=codes["params"]["n_embed"], num_embeddings=codes["params"]["image_token_size"], latent_channels=codec.latent,
            base_channels=codec.channels, channel_multiplier=list(codec.multiples), num_res_blocks=codec.blocks,
            projection_dim=data["gen_aligner_config"]["params"]["n_embed"], num_hidden_layers=data["gen_aligner_config"]["params"]["depth"],
            image_token_embed_dim=data["gen_head_config"]["params"]["image_token_embed"],
        ),
        image_token_id=SpecialIds().image,
    ))  # fmt: skip


def _toy_tower(dims: dict[str, Any]) -> Tower:
    row = dims["vit"]
    return Tower(row["patch"], row["width"], row["layers"], row["heads"], float(row["mlp_ratio"]))


def _toy_codec(dims: dict[str, Any]) -> Codec:
    row = dims["vq"]
    return Codec(row["ch"], tuple(row["mult"]), row["res"], row["z"])


def native_config(data: dict[str, Any]) -> JanusConfig:
    """The config as transformers saves it."""
    for block in ("text_config", "vision_config", "vq_config"):
        if not isinstance(data[block], dict):
            raise TypeError(block)
    return untied(JanusConfig.from_dict(data))


def untied(config: JanusConfig) -> JanusConfig:
    """Two word matrices: the library ties them by default, and then word logits are wrong without any error."""
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    return config


def build(
    checkpoint: Checkpoint, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None,
) -> JanusForConditionalGeneration:  # fmt: skip
    """The model with its weights, on ``device``, frozen; raises ``MissingWeights`` where they do not fit."""
    make = lambda: JanusForConditionalGeneration(checkpoint.config)  # noqa: E731
    net = weights.build(make, checkpoint.state, "Janus-Pro", device or "cpu", dtype, quantize)
    table = net.model.vqmodel.quantize.embedding
    # fp32 whatever the rest is: rows rounded to bf16 are no longer of unit length, and the nearest code changes.
    rows = F.normalize(checkpoint.state[CODEBOOK].float(), dim=-1).to(table.weight.device)
    table.weight = nn.Parameter(rows, requires_grad=False)
    return net
