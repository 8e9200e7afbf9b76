"""STAR: a frozen understanding base, stacked autoregressive layers that draw, and a VQ in between.

Data flow (fact sheet: star, section 1)::

    words ----- embedding --+
    picture --- vision tower +--> base (Qwen2.5-VL) --> text
    VQ ids ---- adapter -----+       | last hidden states, every position
                                     v
                                 stack (more of the same layers) --> head --> next VQ id
    VQ ids --> VQ decoder --> picture

One code path serves every size; ``config.CONFIGS`` holds the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from unimm.star.generate import StarModel


def load(path: str | Path | None = None, device: str | None = None) -> StarModel:
    """Load STAR weights, by default the embedded ones in ``assets/star-tiny``; raises ``MissingWeights``."""
    from unimm.star.generate import StarModel

    return StarModel.load(path, device)
