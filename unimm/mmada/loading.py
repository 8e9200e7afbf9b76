"""Reads the published folders: the backbone's, and the picture tokenizer's beside it."""

from __future__ import annotations

from pathlib import Path

import torch

from unimm.errors import MissingWeights
from unimm.mmada.backbone import Backbone
from unimm.mmada.config import REPOSITORIES, BackboneConfig, SpecialIds, VQConfig
from unimm.mmada.model import MmadaModel
from unimm.mmada.vq import MagvitV2
from unimm.mmada.words import PUBLISHED_LEAST, Letters, Pieces, Words
from unimm.weights import State, build, load_sharded, read_json, read_state

VQ_FILES = ("pytorch_model.safetensors", "model.safetensors", "pytorch_model.bin")
"""The picture tokenizer's weights go by one of these names."""


def load_folder(
    path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None,
    *, tokenizer: Words | None = None, vq: str | Path | None = None, name: str = "mmada",
) -> MmadaModel:  # fmt: skip
    """See ``unimm.mmada.load``."""
    folder, place = Path(path), device or "cpu"
    config = BackboneConfig.from_dict(read_json(folder / "config.json"))
    words = tokenizer or words_of(folder, config)
    if words.special.offset + config.codes > config.rows:
        raise MissingWeights(f"The tokenizer of {folder.name} leaves no room for {config.codes} picture codes. Take MMaDA's own.")
    pictures = load_vq(vq_folder(folder, vq), place)
    if (codes := 2**pictures.config.bits) != config.codes:
        raise MissingWeights(f"The picture tokenizer has {codes} codes, {folder.name} {config.codes}. Take the one that belongs to it.")
    return MmadaModel(load_backbone(folder, config, place, dtype, quantize), pictures, words, name)


def load_backbone(
    folder: Path, config: BackboneConfig, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, quantize: str | None = None
) -> Backbone:
    """The transformer of a folder; raises ``MissingWeights``."""
    module = build(lambda: Backbone(config), load_sharded(folder), f"MMaDA in {folder.name}", device, dtype, quantize)
    assert isinstance(module, Backbone)
    return module


def load_vq(folder: Path, device: str | torch.device = "cpu") -> MagvitV2:
    """The picture tokenizer of a folder, in fp32; raises ``MissingWeights``."""
    config = VQConfig.from_dict(read_json(folder / "config.json"))
    module = build(lambda: MagvitV2(config), _vq_state(folder), f"picture tokenizer in {folder.name}", device, torch.float32)
    assert isinstance(module, MagvitV2)
    return module


def _vq_state(folder: Path) -> State:
    for file in VQ_FILES:
        if (folder / file).is_file():
            return read_state(folder / file)
    raise MissingWeights(f"{folder} holds none of {', '.join(VQ_FILES)}. Fetch the picture tokenizer {REPOSITORIES['vq']}.")


def vq_folder(folder: Path, given: str | Path | None) -> Path:
    """Where the picture tokenizer is: as given, inside the model's folder, or beside it."""
    places = [Path(given)] if given else [folder / "vq", folder / "magvitv2", folder.parent / "magvitv2", folder.parent / "vq"]
    for place in places:
        if (place / "config.json").is_file():
            return place
    looked = " or ".join(str(place) for place in places[:3])
    raise MissingWeights(f"There is no picture tokenizer at {looked}. Put {REPOSITORIES['vq']} there or name it with vq=.")


def words_of(folder: Path, config: BackboneConfig) -> Words:
    """The folder's tokenizer, or letters where its vocabulary is too small for the published one; raises ``MissingWeights``."""
    file = folder / "tokenizer.json"
    if file.is_file():
        return Pieces.load(file, config.eos, config.mask)
    special = SpecialIds.placed(config.eos, config.mask)
    if special.bos >= PUBLISHED_LEAST:
        raise MissingWeights(f"{folder} holds no tokenizer.json. Fetch it from the repository of the weights.")
    return Letters(special)
