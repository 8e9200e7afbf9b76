"""How much memory a model needs, how much there is, and what to try next: known before a byte of weights is read."""

from __future__ import annotations

import gc
import json
import struct
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from unimm.errors import MissingWeights, ModelUnavailable, UnimmError

PRECISIONS: dict[str, float] = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "nf4": 4.5 / 8}
"""Bytes a weight takes. "int8" and "nf4" hold for the linear layers of repeated blocks; the rest is bf16 then."""

BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of one element, by the name of its type in a safetensors header."""


@dataclass(frozen=True)
class Size:
    """What a model's weights count up to: numbers in the linear layers of its blocks, all others, and bytes as stored."""

    blocks: int
    others: int
    stored: int

    def bytes_at(self, precision: str | None) -> int:
        """Bytes of the weights in memory at a precision; None is as stored."""
        if precision is None:
            return self.stored
        rest = PRECISIONS["bf16"] if precision in ("int8", "nf4") else PRECISIONS[precision]
        return int(self.blocks * PRECISIONS[precision] + self.others * rest)

    def __add__(self, other: Size) -> Size:
        return Size(self.blocks + other.blocks, self.others + other.others, self.stored + other.stored)


def read_header(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Types and shapes of the tensors of a safetensors file, by name; no weight is read.

    Raises ``MissingWeights`` where the file is cut off, longer than it says, or no safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        rows = {key: (row["dtype"], row["shape"]) for key, row in header.items() if key != "__metadata__"}
        end = 8 + length + max((row["data_offsets"][1] for key, row in header.items() if key != "__metadata__"), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise MissingWeights(f"{path.name} is damaged or is not a weight file. Fetch it again. ({_reason(error)})") from error
    if end != size:
        raise MissingWeights(f"{path.name} has {size} bytes instead of {end}: it was cut off or overwritten. Fetch it again.")
    return rows


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def size_of(folder: Path, files: Sequence[str] = ("*",)) -> Size:
    """Size of the weight files in a folder whose path in it fits one of the patterns ``files`` (all where none does).

    Of safetensors the headers tell; a pickle is taken for bf16. Raises ``MissingWeights`` for damaged files.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin", ".pt") and path.is_file())
    named = [path for path in found if any(fnmatch(path.relative_to(folder).as_posix(), pattern) for pattern in files)]
    total = Size(0, 0, 0)
    for path in named or found:
        total += _size_of_header(read_header(path)) if path.suffix == ".safetensors" else _size_of_pickle(path)
    return total


def _size_of_header(rows: Mapping[str, tuple[str, list[int]]]) -> Size:
    blocks = others = stored = 0
    for name, (kind, shape) in rows.items():
        count = 1
        for side in shape:
            count *= side
        stored += count * BYTES.get(kind, 4)
        if len(shape) == 2 and any(part.isdecimal() for part in name.split(".")):
            blocks += count
        else:
            others += count
    return Size(blocks, others, stored)


def _size_of_pickle(path: Path) -> Size:
    size = path.stat().st_size
    return Size(int(0.85 * size) // 2, size // 2 - int(0.85 * size) // 2, size)


def free_bytes() -> dict[int | str, int]:
    """Free memory by device: GPUs by number, then main memory as "cpu" (a container's limit counts)."""
    from accelerate.utils import get_max_memory

    free = dict(get_max_memory())
    limit = _container_limit()
    if limit is not None:
        free["cpu"] = min(free["cpu"], limit)
    return free


def _container_limit(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container may still take, None where nothing limits it."""
    try:
        return max(int((root / "memory.max").read_text()) - int((root / "memory.current").read_text()), 0)
    except (OSError, ValueError):
        return None


def gigabytes(size: float) -> str:
    """Bytes as people read them: "29 GB", "0.3 GB"."""
    return f"{size / 1e9:.0f} GB" if size >= 9.5e9 else f"{size / 1e9:.1f} GB"


def check_room(what: str, size: Size, precision: str | None, room: int, share: float = 1.0) -> None:
    """Raise ``ModelUnavailable`` that says what is needed, what there is and what to try, where the weights do not fit.

    ``share`` is the part of the weights that has to be in memory at the same time.
    """
    need = int(share * size.bytes_at(precision))
    if need <= room:
        return
    smaller = [kind for kind in ("bf16", "int8", "nf4") if share * size.bytes_at(kind) <= room]
    if "bf16" in smaller and precision in (None, "fp32"):
        try_next = "try dtype='bf16'"
    elif smaller:
        kind = smaller[-1] if precision == "int8" else smaller[0] if smaller[0] != "bf16" else smaller[-1]
        try_next = f"try quantize={kind!r} (about {gigabytes(share * size.bytes_at(kind))})"
    else:
        try_next = f"try a smaller model, or a machine with {gigabytes(share * size.bytes_at('nf4'))} for quantize='nf4'"
    kind = precision or "its stored precision"
    raise ModelUnavailable(f"{what} needs about {gigabytes(need)} in {kind}, you have {gigabytes(room)}: {try_next}.")


# --- running out of it all the same


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python's or torch's says that memory ran out, on any device."""
    if isinstance(error, MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        mark in words for mark in ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
    )


def named(error: BaseException, what: str) -> BaseException:
    """An out-of-memory error as ``ModelUnavailable`` that says what to try, with the memory given back; others as they are."""
    if not is_out_of_memory(error):
        return error
    for part in (error, error.__context__, error.__cause__):
        if part is not None:
            traceback.clear_frames(part.__traceback__)
            part.__traceback__ = None
    give_back()
    return ModelUnavailable(
        f"{what} ran out of memory. Try a smaller picture or a shorter text, or load the model with quantize='nf4'."
    )


def give_back() -> None:
    """Free what nothing holds any more, on the GPU too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Out-of-memory errors inside come out as ``ModelUnavailable``."""
    try:
        yield
    except UnimmError:
        raise
    except Exception as error:
        better = named(error, what)
        if better is error:
            raise
        raise better from None
