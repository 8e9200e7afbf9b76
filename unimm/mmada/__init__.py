"""MMaDA: one bidirectional transformer that fills masked words and masked picture codes.

Data flow (fact sheet mmada, section 1)::

    words --- tokenizer ------------------+
    picture - MAGVIT-v2 -- code + offset -+--> one row of ids --> backbone, no causal mask --> logits of every column
                                          |                                                       |
    columns to be filled: mask ids -------+<-- the surest candidates stay, the rest is masked again
    words:   block after block, a few columns a step (``text``)
    picture: all slots at once, fewer masked after every step (``unmask``) --> MAGVIT-v2 decoder --> picture
    editing: a picture's own codes stay in their slots, the others are masked (``edit``)

``options.MmadaOptions`` are the settings, ``config.PUBLISHED`` the released sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from unimm.mmada.model import MmadaModel
    from unimm.mmada.words import Words


def load(
    path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None, quantize: str | None = None,
    *, tokenizer: Words | None = None, vq: str | Path | None = None, name: str = "mmada",
) -> MmadaModel:  # fmt: skip
    """Load a folder in the published layout.

    The picture tokenizer is looked for in ``vq``, else in the folders ``vq`` or ``magvitv2`` inside or beside ``path``; it stays
    in fp32 whatever ``dtype`` is, for a code hangs on the sign of a number. ``tokenizer`` replaces the folder's ``tokenizer.json``;
    a vocabulary too small to be the published one needs none (``words.Letters``). Raises ``MissingWeights`` or ``BadInput`` that
    name the file.
    """
    from unimm.mmada.loading import load_folder

    return load_folder(path, device, dtype, quantize, tokenizer=tokenizer, vq=vq, name=name)
