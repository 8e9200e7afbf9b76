"""Emu3: one vocabulary of words and picture codes, two sets of weights that share a codec.

Data flow (fact sheet: janus_pro_emu3, section 2)::

    picture --- codec encoder --> codes --+
    words ----- tokenizer ----------------+--> Chat (decoder) --> words
                                                                   | thought
    words + thought + "H*W" header ---- row 1 --+                  v
    negative prompt + "H*W" header ---- row 2 --+--> Gen (decoder) --> guided codes, row by row --> codec decoder --> picture

``checkpoint`` reads the original and the native layout, ``pair`` holds or swaps the two decoders, ``rows`` runs them,
``grammar`` knows the order of a picture's tokens, ``generate`` is the ``UnifiedModel``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from unimm.emu3.generate import Emu3Model
    from unimm.emu3.tokenizer import Words


def load(
    path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None, *,
    hold: bool | None = None, tokenizer: Words | None = None,
) -> Emu3Model:  # fmt: skip
    """Load Chat and Gen with their codec from a folder, as one model.

    ``path`` holds the published repositories as subfolders (``Emu3-Chat``, ``Emu3-Gen``, ``Emu3-VisionTokenizer``; or the
    native ``Emu3-Chat-hf``, ``Emu3-Gen-hf``; or ``chat``, ``gen``, ``vq``), or is one of them. A decoder alone serves both
    sides, unless its config is that of the published Chat or Gen, which can only do its own. ``hold`` keeps both decoders
    in memory; by default only where they fit. The codec stays in fp32, as published.
    Raises ``MissingWeights`` for absent, damaged or foreign files, ``BadInput`` for an unknown ``quantize``.
    """
    from unimm.emu3.generate import Emu3Model
    from unimm.emu3.loading import parts

    return Emu3Model(*parts(path, device, dtype, quantize, hold=hold, tokenizer=tokenizer))
