"""Janus-Pro: one Llama decoder with two image paths, over the classes inside transformers.

Data flow (fact sheet: janus_pro_emu3, section 1)::

    words ------ embedding ---------+
    picture ---- SigLIP --> aligner +--> decoder --> word head --> text
    VQ codes --- table --> aligner -+        |
                                             +----> code head --> next VQ code (576 of them, guided)
    VQ codes --> VQ decoder --> picture

One pass writes a text or draws one picture, never both. There is no editing: a redraw is drawn anew from words. Both
published layouts load: DeepSeek's own and the one of transformers (``python -m unimm.janus.convert`` makes the latter).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from unimm.janus.generate import JanusModel
    from unimm.janus.tokenizer import Words


def load(
    path: str | Path, device: str | None = None, dtype: torch.dtype | None = None, quantize: str | None = None,
    tokenizer: Words | None = None,
) -> JanusModel:  # fmt: skip
    """Load Janus-Pro from a folder in either published layout, or from one that holds it as ``original/``.

    ``dtype`` None keeps the stored one. ``tokenizer`` stands in for the folder's ``tokenizer.json``; a folder of toy
    weights without either gets a word table if its ``cases.json`` lists the token ids. Raises ``MissingWeights`` for a
    folder that is damaged, incomplete or of another model.
    """
    from unimm.janus.generate import JanusModel

    return JanusModel.load(path, device, dtype, quantize, tokenizer)
