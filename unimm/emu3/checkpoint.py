"""Find and read Emu3's files in either published layout (fact sheet: janus_pro_emu3, section 2.2).

Original: a repository for each decoder and one for the codec. Native: a repository for each decoder, the codec inside.
Here a decoder is an ``Emu3ForCausalLM``, whose names are the original's, and the codec an ``Emu3VQVAE``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.models.emu3.modeling_emu3 import Emu3ForCausalLM, Emu3VQVAE

from unimm.emu3.codec import Codec
from unimm.emu3.config import NATIVE, ORIGINAL_CODEC, ORIGINAL_LANGUAGE, PIXELS, LanguageConfig, read_codec, read_language
from unimm.errors import MissingWeights
from unimm.weights import State, build, read_state

CODEC_FOLDERS = ("Emu3-VisionTokenizer", "vq")
"""Where the codec may lie beside a decoder's own folder."""


@dataclass(frozen=True)
class Part:
    """A folder with weights: its path and its ``config.json``."""

    folder: Path
    config: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.config.get("model_type"))


@dataclass(frozen=True)
class Found:
    """The parts of a model: a decoder for each side that there is, and the codec they share."""

    sides: Mapping[str, Part]
    codec: Part

    def language(self, side: str) -> LanguageConfig:
        """Raises ``MissingWeights`` where the config lacks something."""
        return _read(self.sides[side], lambda data: read_language(data, read_codec(self.codec.config)))

    @property
    def folders(self) -> list[Path]:
        """Where a tokenizer may lie."""
        own = [part.folder for part in (*self.sides.values(), self.codec)]
        return list(dict.fromkeys([*own, *(folder.parent for folder in own)]))


def find(path: str | Path) -> Found:
    """The parts in a folder, in its subfolders, or, for a decoder's own folder, beside it. Raises ``MissingWeights``."""
    path = Path(path)
    if not path.is_dir():
        raise MissingWeights(f"There is no folder {path}. Download BAAI/Emu3-Chat, BAAI/Emu3-Gen and BAAI/Emu3-VisionTokenizer into one.")
    own = (path / "config.json").is_file()
    folders = [path] if own else sorted(child for child in path.iterdir() if (child / "config.json").is_file())
    if own:
        beside = (parent / name for parent in (path, path.parent) for name in CODEC_FOLDERS)
        folders += [folder for folder in beside if (folder / "config.json").is_file()]
    parts = [read_part(folder) for folder in folders]
    decoders = [part for part in parts if part.kind in (ORIGINAL_LANGUAGE, NATIVE)]
    codecs = [part for part in parts if part.kind == ORIGINAL_CODEC] or [part for part in parts if part.kind == NATIVE]
    if not decoders:
        other = f" Its config.json says {parts[0].kind!r}." if parts else ""
        raise MissingWeights(f"{path} holds no Emu3 decoder.{other} Put Emu3-Chat and Emu3-Gen into it, or give one's own folder.")
    if not codecs:
        raise MissingWeights(f"{path} holds no Emu3 codec. Download BAAI/Emu3-VisionTokenizer into it or beside it.")
    return Found(_by_side(decoders, codecs[0]), codecs[0])


def _by_side(decoders: list[Part], codec: Part) -> dict[str, Part]:
    """Which decoder serves which side: by the folder's name, else by what its config says it can do."""
    sides: dict[str, Part] = {}
    named = {part.folder: re.findall(r"(?<![a-z])(chat|gen)(?![a-z])", part.folder.name.lower()) for part in decoders}
    for part in decoders if len(decoders) > 1 else ():
        sides |= {side: part for side in named[part.folder] if side not in sides}
    for part in decoders:
        if part not in sides.values():
            able = _read(part, lambda data: read_language(data, read_codec(codec.config))).sides
            sides |= {side: part for side in able if side not in sides}
    return sides


def read_part(folder: Path) -> Part:
    """A folder and its config; raises ``MissingWeights``."""
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeights(f"{folder / 'config.json'} is absent or damaged. Fetch it again.") from error
    return Part(folder, data if isinstance(data, dict) else {})


def _read(part: Part, read: Any) -> Any:
    try:
        return read(part.config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise MissingWeights(f"{part.folder / 'config.json'} is no config of an Emu3: {what}. Fetch it again.") from error


def build_language(
    part: Part, config: LanguageConfig, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, quantize: str | None = None
) -> Emu3ForCausalLM:
    """A decoder with its weights. Raises ``MissingWeights`` for files that are damaged or do not fit."""
    state = language_state(read_state(part.folder), part.kind)
    return build(lambda: Emu3ForCausalLM(config.text), state, f"decoder in {part.folder.name}", device, dtype, quantize)


def build_codec(part: Part, area: int, device: str | torch.device = "cpu") -> Codec:
    """The codec with its weights, in fp32, for decoders made for pictures of ``area`` pixels.

    Raises ``MissingWeights`` for files that are damaged or do not fit.
    """
    config = _read(part, read_codec)
    state = codec_state(read_state(part.folder), part.kind)
    net = build(lambda: Emu3VQVAE(config), state, f"codec in {part.folder.name}", device, torch.float32)
    return Codec(net, _pixels(part, area))


def _pixels(part: Part, area: int) -> tuple[int, int]:
    """The bounds in ``preprocessor_config.json``; without one the published ones, but no more than a smaller model was made for."""
    file = part.folder / "preprocessor_config.json"
    if file.is_file():
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            return int(data.get("min_pixels", PIXELS[0])), int(data.get("max_pixels", PIXELS[1]))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise MissingWeights(f"{file} is damaged. Fetch it again.") from error
    return PIXELS if area >= PIXELS[0] else (area, area)


# --- names


def language_state(state: Mapping[str, torch.Tensor], kind: str) -> State:
    """A decoder's tensors of a file, under the original's names; older native files put the parts in another order."""
    if kind != NATIVE:
        return dict(state)
    ours = {}
    for key, value in state.items():
        if re.match(r"(model\.)?vqmodel\.", key):
            continue
        key = re.sub(r"^text_model\.lm_head\.", "lm_head.", key)
        ours[re.sub(r"^(model\.text_model|text_model\.model)\.", "model.", key)] = value
    return ours


def codec_state(state: Mapping[str, torch.Tensor], kind: str) -> State:
    """The codec's tensors of a file, under the native names."""
    if kind == NATIVE:
        return {found[2]: value for key, value in state.items() if (found := re.match(r"(model\.)?vqmodel\.(.+)", key))}
    return {codec_name(key): _linear(key, value) for key, value in state.items()}


def codec_name(key: str) -> str:
    """The native name of an original codec tensor."""
    key = re.sub(r"^encoder\.down\.", "encoder.down_block.down.", key)
    key = re.sub(r"^decoder\.up\.", "decoder.up_block.up.", key)
    key = re.sub(r"\.mid\.attn_1\.norm\.", ".middle_block.attn_norm.", key)
    key = re.sub(r"\.attn\.(\d+)\.norm\.", r".attn_norms.\1.", key)
    key = key.replace(".mid.", ".middle_block.")
    return re.sub(r"(\.attn\.\d+|\.attn_1)\.(q|k|v|proj_out)\.", lambda found: f"{found[1]}.{_PROJECTIONS[found[2]]}.", key)


_PROJECTIONS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "proj_out": "out_proj"}


def _linear(key: str, value: torch.Tensor) -> torch.Tensor:
    """Attention's 1x1 convolutions are matrices in the native layout."""
    is_projection = re.search(r"\.attn(_1|\.\d+)\.(q|k|v|proj_out)\.weight$", key)
    return value[:, :, 0, 0] if is_projection and value.ndim == 4 else value
