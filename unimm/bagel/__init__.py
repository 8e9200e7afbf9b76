"""BAGEL: one decoder whose layers exist twice, to understand and to draw, with attention shared between the two.

Data flow (fact sheet: bagel, sections 1 and 5)::

    words ------- embedding ----------------------------+  understanding rows
    picture ----- SigLIP tower -- connector ------------+--> layers (two experts, one K/V) --> head --> next word
    picture ----- autoencoder -- 2x2 patches -- linear -+  drawing rows          |
    noise x_t --- linear + time + place ----------------+                        v
                       ^                                               linear --> velocity
                       +--------- x -= velocity * dt, guided by two more contexts --+
    x_0 --> autoencoder's decoder --> picture

Words and pictures that were read are kept as contexts; the noisy picture never is. All sizes come from the folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from unimm.bagel.generate import BagelModel


def load(
    path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None
) -> BagelModel:
    """Load a folder in the published layout (``ema.safetensors``, ``ae.safetensors``, json files); raises ``MissingWeights``."""
    from unimm.bagel.generate import BagelModel

    return BagelModel.load(path, device, dtype, quantize)
