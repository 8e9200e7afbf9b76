"""A published BAGEL folder as modules (fact sheet: bagel, sections 3 and 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import torch

from unimm.bagel.autoencoder import Autoencoder
from unimm.bagel.config import BagelConfig, read_config, with_tables
from unimm.bagel.model import Bagel
from unimm.bagel.pictures import sincos_table
from unimm.bagel.tokenizer import Words, load_words
from unimm.errors import MissingWeights
from unimm.weights import State, build, read_state

TOWER_LAYER = re.compile(r"vit_model\.vision_model\.encoder\.layers\.(\d+)\.")
TABLES = {"latent_pos_embed.pos_embed": "latent_side", "vit_pos_embed.pos_embed": "patch_side"}


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a folder holds, ready to run."""

    config: BagelConfig
    bagel: Bagel
    autoencoder: Autoencoder
    words: Words


def load_checkpoint(
    path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None
) -> Checkpoint:
    """Read ``ema.safetensors``, ``ae.safetensors``, the json files and the tokenizer; raises ``MissingWeights``.

    The autoencoder stays in fp32, as in the release. Of each vision tower the last layer is never run and may be absent; the
    two frozen tables of places may be absent as well, and say the sides where they are there.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise MissingWeights(f"There is no folder {folder}. Give the folder that holds ema.safetensors and ae.safetensors.")
    config = read_config(folder)
    words = load_words(folder)
    state = read_state(folder / "ema.safetensors")
    config = with_tables(config, *(_side(state, key, getattr(config, side)) for key, side in TABLES.items()))
    state = _completed(state, config)
    latents = read_state(folder / "ae.safetensors")
    place, what = device or "cpu", f"BAGEL in {folder.name}"
    bagel = build(lambda: Bagel(config), state, f"{what} (ema.safetensors)", place, dtype, quantize)
    autoencoder = build(lambda: Autoencoder(config.autoencoder), latents, f"{what} (ae.safetensors)", place, torch.float32)
    highest = max(words.marks.text_begin, words.marks.text_end, words.marks.image_begin, words.marks.image_end)
    if highest >= config.language.vocab_size:
        raise MissingWeights(f"The tokenizer in {folder.name} has more words than the model. Fetch the files of one and the same release.")
    assert isinstance(bagel, Bagel) and isinstance(autoencoder, Autoencoder)
    return Checkpoint(config, bagel, autoencoder, words)


def _side(state: State, key: str, otherwise: int) -> int:
    """The side of a square table of places; what config.json says of it is known to be stale."""
    return isqrt(len(state[key])) if key in state and state[key].dim() else otherwise


def _completed(state: State, config: BagelConfig) -> State:
    """Without the tower's unused layer, and with the tables rebuilt where they are absent."""
    unused = config.vision.num_hidden_layers
    kept = {key: value for key, value in state.items() if not ((found := TOWER_LAYER.match(key)) and int(found[1]) == unused)}
    like = next((value.dtype for value in kept.values() if value.is_floating_point()), torch.float32)
    for key, side in TABLES.items():
        kept.setdefault(key, sincos_table(getattr(config, side), config.language.hidden_size).to(like))
    return kept
