"""A folder with a released STAR: which file holds which part, and what is missing.

One folder holds ``config.json`` (published fields) and the weights: ``model*.safetensors`` as ``python -m
unimm.star.checkpoint`` writes them, or the released ``.pt`` itself. What the ``.pt`` may lack is read from the stock models
where they lie beside it or inside: the base and its tokenizer (``Qwen2.5-VL-*-Instruct``), the VQ (``VQ-Model.pt``), the
diffusion decoder's autoencoder, text encoder, tokenizer and configs (``lumina-image2``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimm.errors import BadInput, MissingWeights
from unimm.star import checkpoint
from unimm.star.config import StarConfig
from unimm.star.decoder_config import DecoderConfig, read_decoder
from unimm.star.processor import SpecialIds
from unimm.star.tokenizer import load_tokenizer
from unimm.star.words import FileWords, Letters, Words
from unimm.weights import State, read_state

VQ_FILE = "VQ-Model.pt"
CAPTION_TOKENIZER = "caption_tokenizer.json"


@dataclass(frozen=True)
class Released:
    """What was found: rows, ids, weights. ``decoder_state`` is empty where there is no decoder, and ``why`` then says what is missing."""

    config: StarConfig
    special: SpecialIds
    run: Mapping[str, Any]
    state: State
    words: Words
    decoder: DecoderConfig
    decoder_state: State
    captions: Words | None
    why: str


def is_release(path: Path) -> bool:
    """Whether a folder (or a weight file in it) is laid out like the release, rather than like the embedded model."""
    if path.suffix in (".pt", ".safetensors"):
        return True
    data = _json(path / "config.json") if (path / "config.json").is_file() else {}
    return "stacked_ar" in data or (not data and any(path.glob("*.pt")))


def read_folder(path: Path, tokenizer: str | Path | Words | None = None, decoder: bool = True) -> Released:
    """Read everything; raises ``MissingWeights`` that names the file, ``BadInput`` where the config is of another model."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise MissingWeights(f"There is no folder {folder}. Check the path, or download the weights first.")
    data = _config(folder)
    try:
        config, special = checkpoint.read_release(data), checkpoint.release_specials(data)
        base = _beside(folder, data["language_model"].get("model_path", ""))
        stock = _beside(folder, data.get("pixel_decoder", {}).get("model_path", "") or "lumina-image2")
        decoder_row = read_decoder(data, _stock_configs(stock))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"config.json lacks what a released STAR has ({error}). Is it of another model?") from error
    state = _weights(path, folder, base)
    parts = _decoder_weights(folder, state, stock) if decoder else {}
    captions = _captions(folder, stock, data)
    why = "" if decoder else "it was not loaded"
    if decoder and not any(key.startswith("transformer.") for key in parts):
        parts, why = {}, "the folder holds no weights of it"
    elif decoder and captions is None:
        parts, why = {}, f"its tokenizer is missing: copy tokenizer/tokenizer.json of Lumina-Image-2.0 as {CAPTION_TOKENIZER}"
    return Released(
        config, special, data.get("tiny", {}).get("run_args", {}), {key: value for key, value in state.items() if not key.startswith(
            checkpoint.DECODER)}, _words(folder, base, data, tokenizer, special), decoder_row, parts, captions, why,
    )  # fmt: skip


def _config(folder: Path) -> dict[str, Any]:
    """``config.json``, or the one file beside the weights that has its fields (the release names it by size)."""
    paths = [folder / "config.json"] if (folder / "config.json").is_file() else sorted(folder.glob("*.json"))
    found = [data for data in map(_json, paths) if "stacked_ar" in data]
    if len(found) != 1:
        raise MissingWeights(f"{folder.name} holds no config.json of a released STAR. Copy the one of its size from the release.")
    return found[0]


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeights(f"{path.name} cannot be read as JSON. Fetch it again.") from error
    return data if isinstance(data, dict) else {}


def _beside(folder: Path, name: str) -> Path | None:
    """A stock model's folder or file: where the config says, inside the folder, or beside it."""
    places = [folder / name, folder / Path(name).name, folder.parent / Path(name).name] if name else []
    return next((place for place in places if place.exists()), None)


def _weights(path: Path, folder: Path, base: Path | None) -> State:
    """All tensors of the release under its names, completed from the stock files."""
    if path.is_file():
        state = read_state(path)
    elif (folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file():
        state = read_state(folder)
    else:
        files = [file for file in sorted(folder.glob("*.pt")) if file.name != VQ_FILE]
        if len(files) != 1:
            what = "no weights (model.safetensors or one .pt)" if not files else f"{len(files)} .pt files, so give the path of one"
            raise MissingWeights(f"{folder.name} holds {what}.")
        state = read_state(files[0])
    vq = _beside(folder, VQ_FILE)
    if vq is not None and not any(key.startswith("pixel_encoder.") for key in state):
        state = state | {f"pixel_encoder.{key}": value for key, value in read_state(vq).items()}
    if base is not None and base.is_dir() and not any(key.startswith(("llm.", "base.")) for key in state):
        state = state | {f"llm.{key}": value for key, value in read_state(base).items()}
    return state


def _decoder_weights(folder: Path, state: State, stock: Path | None) -> State:
    """The diffusion decoder's tensors: from the release's own file, from a converted one, stock parts where they are absent."""
    parts = checkpoint.decoder_part(state)
    if not parts and any(folder.glob("diffusion_decoder*.safetensors*")):
        parts = checkpoint.decoder_part(read_state(folder, "diffusion_decoder"))
    if parts and stock is not None:
        for part, place, file in (("vae", "vae", "diffusion_pytorch_model"), ("text_encoder_one", "text_encoder", "model")):
            if not any(key.startswith(f"{part}.") for key in parts) and (stock / place).is_dir():
                own = read_state(stock / place, file)
                parts = parts | {f"{part}.{key.removeprefix('model.')}": value for key, value in own.items()}
    return parts


def _stock_configs(stock: Path | None) -> dict[str, dict[str, Any]]:
    names = {"transformer": "config", "vae": "config", "text_encoder": "config", "scheduler": "scheduler_config"}
    paths = {part: stock / part / f"{name}.json" for part, name in names.items()} if stock is not None else {}
    return {part: _json(path) for part, path in paths.items() if path.is_file()}


def _words(folder: Path, base: Path | None, data: Mapping[str, Any], tokenizer: Any, special: SpecialIds) -> Words:
    """The base's tokenizer: given, beside the weights, or in the base's own folder; letters for a toy that has none."""
    if tokenizer is not None:
        return FileWords(load_tokenizer(Path(tokenizer))) if isinstance(tokenizer, (str, Path)) else tokenizer
    for place in (folder, base):
        if place is not None and (place / "tokenizer.json").is_file():
            return FileWords(load_tokenizer(place / "tokenizer.json"))
    if "tiny" in data:
        marks = [value for mark, value in data["tiny"]["special_tokens"].items() if mark != "\n"]
        return Letters(data["tiny"]["qwen2_5_vl"]["vocab_size"], marks, newline=special.newline)
    raise MissingWeights(f"{folder.name} holds no tokenizer.json. Copy it from the Qwen2.5-VL-Instruct of the same size.")


def _captions(folder: Path, stock: Path | None, data: Mapping[str, Any]) -> Words | None:
    """The text encoder's tokenizer; letters for a toy that has none."""
    for path in (folder / CAPTION_TOKENIZER, stock and stock / "tokenizer" / "tokenizer.json"):
        if path is not None and path.is_file():
            return FileWords(load_tokenizer(path), marked=True)
    toy = data.get("tiny", {}).get("diffusion_decoder")
    if not toy:
        return None
    gemma = toy["text_encoder_gemma2"]
    return Letters(gemma["vocab_size"], [gemma["pad_token_id"], gemma["eos_token_id"]], start=gemma["bos_token_id"])
