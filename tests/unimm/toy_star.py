"""A STAR of toy size with random weights, in the embedded model's layout."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache

import torch

from agents import vocabulary
from unimm.star.config import CONFIGS, StarConfig
from unimm.star.generate import StarModel
from unimm.star.inspector import Inspector
from unimm.star.model import Star
from unimm.star.tokenizer import word_tokenizer


def toy_config() -> StarConfig:
    tiny = CONFIGS["tiny"]
    base = copy.deepcopy(dict(tiny.base))
    base["text_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
                            "num_key_value_heads": 2}  # fmt: skip
    base["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]}
    base["vision_config"] |= {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32,
                              "fullatt_block_indexes": [0, 1]}  # fmt: skip
    vq = dataclasses.replace(tiny.vq, codebook_size=24, codebook_dim=8, z_channels=8, patch_hidden=16)
    return dataclasses.replace(tiny, name="star-toy", base=base, vq=vq, stack_layers=2, inspector=8)


@cache
def toy_weights() -> dict[str, torch.Tensor]:
    """Weights large enough that logits are far apart and pictures differ from their sources in some cells."""
    torch.manual_seed(7)
    star = Star(dataclasses.replace(toy_config(), inspector=0))  # so that its weights do not hang on the inspector's
    with torch.no_grad():
        for name, parameter in star.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.4 if "places" in name else 1.2 * parameter[0].numel() ** -0.5)
        star.pixel_encoder.quantize.embedding.weight.normal_()
        inspector = Inspector(toy_config().inspector)
        for parameter in inspector.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 1.5 * parameter[0].numel() ** -0.5)
    return star.state_dict() | {f"inspector.{name}": value for name, value in inspector.state_dict().items()}


def toy_star() -> Star:
    star = Star(toy_config())
    star.load_state_dict(toy_weights())
    return star.eval()


def toy_model() -> StarModel:
    return StarModel(toy_star(), word_tokenizer(vocabulary.words()))
