"""STAR: a frozen understanding base, stacked autoregressive layers that draw, and a VQ in between.

Data flow (fact sheet: star, section 1)::

    words ----- embedding --+
    picture --- vision tower +--> base (Qwen2.5-VL) --> text
    VQ ids ---- adapter -----+       | last hidden states, every position (of a thought too)
                                     v
                                 stack (more of the same layers) --> head --> next VQ id
    VQ ids --> VQ decoder --> picture
    VQ ids, words, source --> diffusion decoder (Lumina-2, released sizes only) --> larger picture

The network and its drawing loop serve every size; ``config.CONFIGS`` holds the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from unimm.star.big import ReleasedStarModel
    from unimm.star.generate import StarModel
    from unimm.star.words import Words


def load(
    path: str | Path | None = None, device: str | None = None, dtype: torch.dtype | None = None, quantize: str | None = None,
    tokenizer: str | Path | Words | None = None, decoder: bool = True,
) -> StarModel | ReleasedStarModel:  # fmt: skip
    """Load STAR weights, by default the embedded ones in ``assets/star-tiny``.

    ``path`` is a folder of the embedded model's layout (``config.json``, ``tokenizer.json``, shards), or of the released one
    (``folder.read_folder`` says what may lie in it: converted safetensors or the released ``.pt``), or a released weight
    file. Released weights become ``dtype`` (what their config says if None); ``quantize`` ("int8", "nf4") is for them only,
    as are ``tokenizer``, a ``tokenizer.json`` or an object with ``encode`` and ``decode`` in place of the folder's own, and
    ``decoder``, which reads the diffusion decoder where its weights are there. A toy folder (``tiny`` in its config) without
    a tokenizer is read letter by letter. Raises ``MissingWeights`` that names the file, and ``BadInput`` for settings that
    do not go together.
    """
    from pathlib import Path

    from unimm.errors import BadInput
    from unimm.star.big import ReleasedStarModel
    from unimm.star.folder import is_release
    from unimm.star.generate import StarModel

    if path is not None and is_release(Path(path)):
        return ReleasedStarModel.load(path, device, dtype, quantize, tokenizer, decoder)
    if quantize is not None:
        raise BadInput("The embedded model is too small to quantise. Leave quantize out.")
    return StarModel.load(path, device)
