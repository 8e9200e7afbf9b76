"""Teaching a picture's positions what they are about: they are to lie near the words for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unimm.star.model import Star
from unimm.train.data import IGNORED


def words_for(named: Tensor, states: Tensor) -> Tensor:
    """The words [..., cells, n] for what cells hold, by their labels [..., cells] and ``named`` [labels, cells, n]; IGNORED for IGNORED."""
    words = named.to(states.device)[states.clamp(min=0), torch.arange(states.shape[-1], device=states.device)]
    return words.masked_fill((states == IGNORED)[..., None], IGNORED)


def named_loss(star: Star, shown: Tensor, words: Tensor) -> Tensor | None:
    """Cross entropy of the words [n, k] (IGNORED where there are fewer) at hidden states [n, hidden]; None where there is no word.

    Looking up a word in a picture then is what looking it up in a text is.
    """
    speaks = (words != IGNORED).any(1)
    if not speaks.any():
        return None
    chances = star.word_logits(F.rms_norm(shown[speaks], (star.hidden,))).float().log_softmax(-1)
    right = words[speaks]
    return -chances.gather(1, right.clamp(min=0))[right != IGNORED].mean()
