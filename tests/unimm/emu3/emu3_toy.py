"""The golden folder as a toy model, copies of it in other layouts, and streams folded to what matters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from unimm.document import Document, Image, Text
from unimm.emu3 import load
from unimm.emu3.convert import convert
from unimm.emu3.generate import Emu3Model
from unimm.emu3.options import Emu3Options
from unimm.events import PartDone

GOLDEN = Path(__file__).parents[2] / "golden" / "emu3"
SMALL = Emu3Options(area=96, max_tokens=6, previews=2, think=False)
"""Pictures of 5 x 5 codes."""
GREEDY = Emu3Options(area=96, max_tokens=6, previews=2, think=False, temperature=0.0)


def toy(folder: Path = GOLDEN, **options: object) -> Emu3Model:
    return load(folder, dtype=torch.float32, **options)


def picture(shade: int, side: int = 24) -> Image:
    return Image(side, side, bytes(byte for at in range(side * side) for byte in (shade, at % 256, (3 * at) % 256)))


ASKED = Document().user(picture(40), Text("what is in the picture"))
WANTED = Document().user(Text("a red ball on 2 boxes"))


def parts(model: Emu3Model, document: Document, want: str, options: Emu3Options = SMALL) -> tuple[object, ...]:
    """The finished parts of a stream."""
    return tuple(event.part for event in model.stream(document, want, options) if isinstance(event, PartDone))


def pair_folder(to: Path) -> Path:
    """Two different decoders and their codec, in folders named as on the hub."""
    for name, source in (("Emu3-Chat", "original_lm"), ("Emu3-Gen", "original_lm"), ("Emu3-VisionTokenizer", "original_vq")):
        shutil.copytree(GOLDEN / source, to / name)
    change_weights(to / "Emu3-Gen", lambda key, value: value.flip(0) if key == "lm_head.weight" else value)
    return to


def native_folder(to: Path) -> Path:
    convert(GOLDEN / "original_lm", GOLDEN / "original_vq", to)
    return to


def change_weights(folder: Path, how) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    state = {key: how(key, value) for key, value in load_file(file).items()}
    save_file({key: value.contiguous() for key, value in state.items() if value is not None}, file)


def change_config(folder: Path, **fields: object) -> None:
    file = folder / "config.json"
    data = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
