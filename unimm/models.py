"""The models there are, as one table, and what of it is on this machine: ``python -m unimm.models``.

``--get NAME`` fetches a model's weights and loads nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from unimm.errors import BadInput, ModelUnavailable, UnimmError
from unimm.memory import PRECISIONS, Size, free_bytes, gigabytes
from unimm.model import Capabilities

ASSETS = Path(__file__).parent.parent / "assets"
PACKED = ".xz"
"""What the name of a packed file ends with: safetensors inside an xz container."""
WEIGHTS = (".safetensors", f".safetensors{PACKED}", ".bin", ".pt")
"""What files of weights end with."""


@dataclass(frozen=True)
class Source:
    """Files of one hub repository; they go to ``folder`` inside the model's own.

    ``revision`` is the branch that the release was made on. What it stood for when the files were fetched is written down
    beside them, and never changes after that (``unimm.loading.fetch``); ``unimm.load("name@commit")`` asks for another.
    """

    repository: str
    files: tuple[str, ...]
    folder: str = ""
    revision: str = "main"

    @property
    def holds_weights(self) -> bool:
        return any(name.endswith((*WEIGHTS, "*")) for name in self.files)

    def has(self, name: str) -> bool:
        """Whether a file of the model's folder, by its path in it, is one of these."""
        return any(fnmatch(name, f"{self.folder}/{pattern}" if self.folder else pattern) for pattern in self.files)


@dataclass(frozen=True)
class ModelRow:
    """A known model.

    ``parameters`` counts all weights that run, ``others`` those of them that are never quantised (tables, heads, codec);
    both in units of 1. ``at_once`` is the share of the weights that has to be in memory at the same time.
    """

    name: str
    family: str
    capabilities: Capabilities
    parameters: int
    others: int
    sources: tuple[Source, ...]
    options: str
    at_once: float = 1.0
    folder: Path | None = None
    note: str = ""

    @property
    def size(self) -> Size:
        return Size(self.parameters - self.others, self.others, 2 * self.parameters)

    @property
    def files(self) -> tuple[str, ...]:
        """Patterns of the files it needs, as paths in the model's folder."""
        return tuple(f"{source.folder}/{name}" if source.folder else name for source in self.sources for name in source.files)


def _row(
    name: str, family: str, parameters: float, others: float, sources: Sequence[Source], options: str, licence: str, *,
    edit: bool = True, latents: bool = False, interleave: bool = True, sides: tuple[int, ...] = (1024,), at_once: float = 1.0,
    note: str = "",
) -> ModelRow:  # fmt: skip
    """A published model; ``parameters`` and ``others`` in billions."""
    size = Size(round((parameters - others) * 1e9), round(others * 1e9), round(2e9 * parameters))
    return ModelRow(
        name, family,
        Capabilities(
            understand=True, generate=True, edit=edit, interleave=interleave, latents=latents, image_sizes=sides, licence=licence,
            weights=sources[0].repository, memory_gb={kind: round(at_once * size.bytes_at(kind) / 1e9, 1) for kind in PRECISIONS},
        ),
        round(parameters * 1e9), round(others * 1e9), tuple(sources), options, at_once, note=note,
    )  # fmt: skip


def _star(size: str, parameters: float, others: float, licence: str) -> ModelRow:
    released = Source(f"MM-MVR/STAR-{size}", ("*.json", "*.pt", "*.safetensors"))
    codec = Source("MM-MVR/STAR-VQ", ("VQ-Model.pt",))
    base = f"Qwen2.5-VL-{size}-Instruct"
    words = Source(f"Qwen/{base}", ("tokenizer.json", "config.json", "generation_config.json"), folder=base)
    return _row(
        f"star-{size.lower()}", "star", parameters, others, (released, codec, words), "unimm.star.options:StarOptions", licence,
        sides=(384,), latents=True, note="the diffusion decoder, read where its weights are there, takes 5 billion parameters more",
    )  # fmt: skip


def _mmada(version: str, note: str) -> ModelRow:
    words = ("*.json", "*.safetensors", "*.txt")
    sources = (Source(f"Gen-Verse/MMaDA-8B-{version}", words), Source("showlab/magvitv2", ("*.json", "pytorch_model.*"), folder="vq"))
    options = "unimm.mmada.options:MmadaOptions"
    name = f"mmada-8b-{version.lower()}"
    return _row(name, "mmada", 8.18, 1.20, sources, options, "MIT (code)", interleave=False, sides=(512,), note=note)


def _janus(size: str, parameters: float, others: float) -> ModelRow:
    source = Source(f"deepseek-community/Janus-Pro-{size}", ("*.json", "*.safetensors"))
    return _row(
        f"janus-pro-{size.lower()}", "janus", parameters, others, (source,), "unimm.janus.config:JanusOptions",
        "MIT (code), DeepSeek (weights)", edit=False, sides=(384,), note="cannot edit: redraws from the critique",
    )  # fmt: skip


_EMU3 = ("*.json", "*.safetensors", "*.txt")

MODELS: dict[str, ModelRow] = {row.name: row for row in (
    ModelRow(
        "star-tiny", "star",
        Capabilities(
            understand=True, generate=True, edit=True, interleave=True, latents=True, image_sizes=(256,), licence="Apache-2.0",
            weights="assets/star-tiny", memory_gb={"fp32": 0.1}, taught=("maze", "geometry", "compose"), plain=False,
        ),
        21_465_346, 11_607_937, (), "unimm.model:Options", folder=ASSETS / "star-tiny",
        note="trained by this project from nothing, for mazes, geometry and scenes",
    ),
    _star("3B", 6.2, 1.5, "Apache-2.0 (its base: Qwen research)"),
    _star("7B", 12.9, 2.4, "Apache-2.0"),
    _row("bagel-7b-mot", "bagel", 14.69, 1.24,
         (Source("ByteDance-Seed/BAGEL-7B-MoT", ("*.json", "merges.txt", "ema.safetensors", "ae.safetensors")),),
         "unimm.bagel.options:BagelOptions", "Apache-2.0"),
    _mmada("Base", "chat, captions, pictures"),
    _mmada("MixCoT", "thinks before it answers"),
    _janus("1B", 2.08, 0.53),
    _janus("7B", 7.41, 1.01),
    _row("emu3", "emu3", 17.25, 3.29,
         (Source("Emu3-community/Emu3-Chat-hf", _EMU3, folder="Emu3-Chat-hf"),
          Source("Emu3-community/Emu3-Gen-hf", _EMU3, folder="Emu3-Gen-hf")),
         "unimm.emu3.options:Emu3Options", "Apache-2.0", edit=False, interleave=False, sides=(720,), at_once=0.51,
         note="Chat reads, Gen draws; one at a time in memory, or both where they fit"),
)}  # fmt: skip
"""Every model by name. Sizes, repositories and licences: fact sheets star, bagel, mmada, janus_pro_emu3."""
SHIPPED = tuple(row.name for row in MODELS.values() if row.folder is not None)
"""The models that lie in this project."""

FAMILY_OF_TYPE = {
    "STARMultiModalityConfig": "star", "bagel": "bagel", "mmada": "mmada", "multi_modality": "janus", "janus": "janus",
    "Emu3": "emu3", "Emu3VisionVQ": "emu3", "emu3": "emu3",
}  # fmt: skip
"""Which family a ``model_type`` in a config.json belongs to."""


def find(name: str) -> ModelRow:
    """The row of a model (``name`` or ``name@revision``); raises ``BadInput`` that lists the names there are."""
    row = MODELS.get(str(name).partition("@")[0])
    if row is None:
        raise BadInput(f"There is no model {str(name)[:60]!r}. Choose one of: {', '.join(MODELS)}.")
    return row


def shipped_for(task: str) -> str:
    """The first model that lies in this project and was taught a task; the first of all where none was."""
    return next((name for name in SHIPPED if task in MODELS[name].capabilities.taught), SHIPPED[0])


def models_folder() -> Path:
    """Where fetched models lie: ``$UNIMM_MODELS``, else ``unimm`` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNIMM_MODELS") or Path(cache) / "unimm")


def folder_of(name: str) -> Path:
    """The folder that a model's weights are in, or would be."""
    row = find(name)
    return row.folder or models_folder() / name


def missing_files(folder: Path, row: ModelRow) -> list[str]:
    """Repositories of whose weights a model's folder has none (for the embedded model: its folder)."""
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    weights = [name for name in there if name.endswith(WEIGHTS)]
    if row.folder is not None:
        return [] if weights else [str(row.folder)]
    return [source.repository for source in row.sources if source.holds_weights and not any(source.has(name) for name in weights)]


def why_not(name: str, room: int | None = None) -> str:
    """What keeps a model from running here and the command that helps; empty where nothing does.

    ``room`` is the largest free memory of one device in bytes (asked of the machine if None).
    """
    row = find(name)
    if importlib.util.find_spec(f"unimm.{row.family}") is None:
        return f"this installation lacks unimm.{row.family}; install the whole package"
    if missing_files(folder_of(name), row):
        return f"not fetched; run: python -m unimm.models --get {name}"
    room = sum(free_bytes().values()) if room is None else room
    least = row.at_once * row.size.bytes_at("nf4")
    if row.folder is None and least > room:
        return f"needs at least {gigabytes(least)} (quantize='nf4'), this machine has {gigabytes(room)} free"
    return ""


def available(name: str) -> bool:
    """Whether ``unimm.load(name)`` has all it needs on this machine."""
    return not why_not(name)


def require(name: str) -> ModelRow:
    """The row of a model that can run here; raises ``ModelUnavailable`` with the reason and the command that gets it."""
    if reason := why_not(name):
        raise ModelUnavailable(f"{name} is not available here: {reason}.")
    return find(name)


# --- for people


def table(rows: Iterable[ModelRow] = MODELS.values()) -> str:
    """One line a model: what it can do, its size, memory by precision, licence, source, and whether it is here."""
    head = ("model", "does", "px", "params", *PRECISIONS, "licence", "weights", "here")
    room = sum(free_bytes().values())
    lines = [head, *(_cells(row, room) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = [f"{row.name}: {row.note}." for row in rows if row.note]
    legend = "does: u understands, g generates, e edits, i interleaves, l shows the latents of its thought. Memory: GB of weights."
    return "\n".join((text[0], "-" * len(text[0]), *text[1:], "", legend, *notes))


def _cells(row: ModelRow, room: int) -> tuple[str, ...]:
    can, memory = row.capabilities, row.capabilities.memory_gb
    does = "".join(mark if can_do else "-" for mark, can_do in zip("ugeil", (can.understand, can.generate, can.edit, can.interleave,
                   can.latents), strict=True))  # fmt: skip
    params = f"{row.parameters / 1e9:.1f}B" if row.parameters >= 1e9 else f"{row.parameters / 1e6:.0f}M"
    sizes = "/".join(str(side) for side in can.image_sizes)
    numbers = (f"{memory[kind]:g}" if kind in memory else "-" for kind in PRECISIONS)
    return row.name, does, sizes, params, *numbers, can.licence, can.weights, why_not(row.name, room) or "yes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or fetch a model; 0 done, 2 could not."""
    flags = argparse.ArgumentParser(prog="python -m unimm.models", description="List the models, or fetch the weights of one.")
    flags.add_argument("--get", metavar="NAME", help="fetch the weights of this model (NAME, or NAME@commit) from the hub")
    given = flags.parse_args(arguments)
    if given.get is None:
        print(table(list(MODELS.values())))
        return 0
    from unimm.loading import fetch

    try:
        print(fetch(given.get))
    except UnimmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
