"""A second look at a picture that is judged: it is held against the picture before, pixel by pixel.

The base sees a picture token by token. Whether a letter lacks a stroke or a side a few pixels hangs on differences smaller than that;
the inspector finds them in the pixels themselves. What is due is its business only where the picture before says it all, as in a maze.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

GROUPS, HEADS = 8, 4
SEES = ("whole", "damaged", "missed", "overdone", "marked", "ended")
"""What a token can be: as it should be, not right in itself, without what is due in it, with something in it that is not; or whole, with a
point that is new at its lower right corner, or the end of a line that is."""
WHOLE, DAMAGED, MISSED, OVERDONE, MARKED, ENDED = range(len(SEES))
FAULTY = slice(DAMAGED, OVERDONE + 1)
"""Those that are wrong whatever is due."""


class Inspector(nn.Module):
    """Convolutions over both pictures and their difference down to one feature a token, then one layer of attention between tokens.

    ``channels`` is the width at half resolution; a token is 16 pixels wide.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.look = nn.Sequential(
            nn.Conv2d(9, channels, 5, 2, 2), nn.GELU(),
            nn.Conv2d(channels, 2 * channels, 3, 2, 1), nn.GELU(),
            nn.Conv2d(2 * channels, 3 * channels, 3, 2, 1), Residual(3 * channels), nn.GELU(),
            nn.Conv2d(3 * channels, wide, 3, 2, 1), Residual(wide),
        )  # fmt: skip
        self.compare = nn.TransformerEncoderLayer(wide, HEADS, 2 * wide, 0.0, "gelu", batch_first=True, norm_first=True)
        self.say = nn.Linear(wide, len(SEES))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of what the tokens of ``after`` are (SEES), [N, cells, 6]; both pictures are [N, 3, H, W] in [-1, 1]."""
        looks = rearrange(self.look(torch.cat([before, after, after - before], 1)), "n c h w -> n (h w) c")
        return self.say(self.compare(looks))


class Residual(nn.Module):
    """Two convolutions whose result is added to what goes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.into = nn.Conv2d(channels, channels, 3, padding=1)
        self.back = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.back.bias)

    def forward(self, looks: Tensor) -> Tensor:
        return looks + self.back(F.gelu(self.into(self.norm(looks))))
