"""Unified multimodal models behind one interface: text in, pictures in, text out, pictures out.

``unimm.load(name)`` gives any of ``python -m unimm.models``; importing loads nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from unimm.model import UnifiedModel


def load(
    name: str, path: str | Path | None = None, device: str | None = None, dtype: str | torch.dtype | None = None,
    quantize: str | None = None,
) -> UnifiedModel:  # fmt: skip
    """A model by name, from a folder or the hub, its memory checked first; see ``unimm.loading.load``."""
    from unimm.loading import load

    return load(name, path, device, dtype, quantize)
