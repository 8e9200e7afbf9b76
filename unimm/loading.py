"""``unimm.load``: a model by its name, from a folder or the hub, checked before it is read.

Nothing touches the network but ``fetch``, and that only for the model that was asked for and is not here yet.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unimm import spread
from unimm.errors import BadInput, MissingWeights, ModelUnavailable
from unimm.memory import check_room, free_bytes, guarded, size_of
from unimm.models import FAMILY_OF_TYPE, WEIGHTS, ModelRow, Source, find, folder_of, missing_files
from unimm.quantize import check_kind

if TYPE_CHECKING:
    import torch

    from unimm.model import UnifiedModel

FETCHED = "sources.json"
"""Says beside fetched files which commit of which repository they are."""

DTYPES = {"fp32": "float32", "float32": "float32", "bf16": "bfloat16", "bfloat16": "bfloat16", "fp16": "float16", "float16": "float16"}
SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "bf16"}


def load(
    name: str, path: str | Path | None = None, device: str | None = None, dtype: str | torch.dtype | None = None,
    quantize: str | None = None,
) -> UnifiedModel:  # fmt: skip
    """A model of ``unimm.models.MODELS``, ready to stream.

    Weights come from the folder ``path``, else from where they were fetched to; a model that was never fetched is fetched
    now, with a progress bar. ``name`` may be "name@commit" to choose the revision.

    ``device`` None takes the GPU where there is one, all GPUs where one is too small, else the CPU; "auto" also lets main
    memory hold what the GPUs cannot (slow). ``dtype`` None is bf16 on a GPU and as stored on the CPU. ``quantize`` "int8"
    or "nf4" needs bitsandbytes (``requirements-extras.txt``).

    Raises ``ModelUnavailable`` before anything is read where memory or a library is lacking, ``MissingWeights`` for
    absent, damaged or foreign files, ``BadInput`` for unknown names; each says what to do next.
    """
    row = find(name)
    check_kind(quantize)
    kind = _dtype_name(dtype)
    folder = Path(path) if path is not None else folder_of(name)
    if path is None and row.folder is None and missing_files(folder, row):
        folder = fetch(name)
    check_folder(folder, row)
    free = free_bytes()
    place, rooms = _place(row, folder, device, kind, quantize, free)
    options = {"device": place, "dtype": _torch_dtype(row, kind, place), "quantize": quantize}
    family = importlib.import_module(f"unimm.{row.family}")
    with spread.over(rooms), guarded(f"Loading {row.name}"):
        return family.load(folder, **{key: value for key, value in options.items() if value is not None})


def check_folder(folder: Path, row: ModelRow) -> None:
    """Raise ``MissingWeights`` where there is no such folder or it holds no weights, ``BadInput`` where it is another model's."""
    if not folder.is_dir():
        raise MissingWeights(f"There is no folder {folder}. Check the path, or run: python -m unimm.models --get {row.name}")
    kind = _model_type(folder)
    owner = FAMILY_OF_TYPE.get(kind)
    if owner is not None and owner != row.family:
        raise BadInput(f"{folder.name} holds a model of the family {owner} ({kind!r}), not {row.name}. Load it under its own name.")
    if not any(path.name.endswith(WEIGHTS) for path in folder.rglob("*")):
        raise MissingWeights(f"{folder} holds no weights. Check the path, or run: python -m unimm.models --get {row.name}")


def _model_type(folder: Path) -> str:
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(data.get("model_type", ""))
    except (OSError, ValueError, AttributeError):
        return ""  # the family says what is wrong with its config


def _place(
    row: ModelRow, folder: Path, device: str | None, kind: str | None, quantize: str | None, free: Mapping[int | str, int]
) -> tuple[str, dict[int | str, int] | None]:  # fmt: skip
    """The device that a model's inputs live on, and the devices to spread it over where one is not enough.

    Raises ``ModelUnavailable`` where the weights do not fit.
    """
    size = size_of(folder, row.files)
    gpus = [place for place in free if place != "cpu"]
    chosen = device or ("cuda:0" if gpus else "cpu")
    if chosen == "auto" and not gpus:
        chosen = "cpu"
    on_cpu = chosen == "cpu"
    precision = quantize or SHORT.get(kind or "", None if on_cpu or row.folder is not None else "bf16")
    if on_cpu or not gpus:
        check_room(row.name, size, precision, free["cpu"], row.at_once)
        return chosen, None
    need = int(row.at_once * size.bytes_at(precision))
    one = gpus[0] if chosen == "auto" else _number(chosen)
    if one not in free:
        there = ", ".join(("cpu", *(f"cuda:{gpu}" for gpu in gpus), "auto"))
        raise BadInput(f"There is no device {chosen!r} on this machine. Choose one of: {there}.")
    if need <= spread.RESERVE * free[one] or device not in (None, "auto"):
        check_room(row.name, size, precision, free[one], row.at_once)
        return f"cuda:{one}", None
    rooms = {place: room for place, room in free.items() if place != "cpu" or (device == "auto" and quantize is None)}
    check_room(row.name, size, precision, int(spread.RESERVE * sum(rooms.values())), row.at_once)
    return f"cuda:{one}", rooms


def _number(device: str) -> int:
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" and (number or "0").isdecimal() else -1


def _dtype_name(dtype: Any) -> str | None:
    """The full name of a dtype given as torch's or in words; raises ``BadInput``."""
    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise BadInput(f"There is no dtype {name[:40]!r} for weights. Choose one of: fp32, bf16, fp16.")
    return DTYPES[name]


def _torch_dtype(row: ModelRow, kind: str | None, place: str) -> torch.dtype | None:
    import torch

    if kind is None:
        return torch.bfloat16 if place != "cpu" and row.folder is None else None
    return getattr(torch, kind)


# --- the hub


def fetch(name: str, download: Callable[..., str] | None = None, commit_of: Callable[[str, str], str] | None = None) -> Path:
    """Fetch the files of a model that a run needs, and only those, with a progress bar; returns its folder.

    What a branch stands for is asked once and written to ``sources.json``; from then on that commit is the model's. An
    interrupted download goes on where it stopped. ``download`` and ``commit_of`` are the hub library's. Raises
    ``ModelUnavailable`` where the hub cannot be reached or does not hand the files out.
    """
    row, folder = find(name), folder_of(name)
    wanted = str(name).partition("@")[2]
    if row.folder is not None:
        return row.folder
    pinned = _pinned(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, source in enumerate(row.sources):
        revision = wanted if wanted and number == 0 else pinned.get(source.repository, source.revision)
        pinned[source.repository] = _fetch_one(source, revision, folder, download or _download, commit_of or _commit_of)
        (folder / FETCHED).write_text(json.dumps(pinned, indent=1) + "\n", encoding="utf-8")
    if lacking := missing_files(folder, row):
        raise ModelUnavailable(f"{', '.join(lacking)} holds no weights under the expected names. Fetch them by hand into {folder}.")
    return folder


def _pinned(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / FETCHED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _fetch_one(
    source: Source, revision: str, folder: Path, download: Callable[..., str], commit_of: Callable[[str, str], str]
) -> str:
    """Fetch one repository's files; returns the commit."""
    try:
        commit = commit_of(source.repository, revision)
        download(source.repository, revision=commit, local_dir=folder / source.folder, allow_patterns=list(source.files))
    except Exception as error:  # the library raises its own, its transport's and the operating system's
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelUnavailable(
            f"{source.repository} could not be fetched ({reason}). Check the network (and `hf auth login` for gated models), "
            f"or put its files into {folder / source.folder} yourself."
        ) from error
    return commit


def _download(repository: str, **given: Any) -> str:
    from huggingface_hub import snapshot_download
    from tqdm.auto import tqdm

    return snapshot_download(repository, tqdm_class=tqdm, **given)


def _commit_of(repository: str, revision: str) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().model_info(repository, revision=revision).sha)
