"""More codes for a VQ model that is trained already: what its encoder says, and what the codes it has stand for, stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from unimm.star.model import pictures_to_pixels
from unimm.star.vq import NOWHERE, VQModel

ROUNDS = 6
"""Times that new codes move to the middle of what they stand for."""
PORTIONS = 24
"""How many portions the new codes come in: each goes where those before leave most to be said."""


@torch.no_grad()
def more_codes(vq: VQModel, batches: Iterable[np.ndarray], seed: int = 0) -> int:
    """Put the codes out of use where they help most with uint8 pictures [B, H, W, 3]; returns how many came into use.

    k-means over the different patches, rarer ones counting less (by the root of how often they come), in which the codes in use stand
    still.
    """
    table = vq.quantize.embedding.weight
    idle = table.abs().amax(1) > NOWHERE / 2
    patches, often = _different(batches, vq.config.factor)
    z = torch.cat([vq.pre_quant(pictures_to_pixels(part)).flatten(1) for part in patches.split(4096)]).float()
    count, known = min(int(idle.sum()), len(z)), table[~idle].float()
    if count:
        new = _apart(z, often.sqrt(), known, count, torch.Generator().manual_seed(seed))
        table[idle.nonzero().flatten()[:count]] = new.to(table.dtype)
    return count


def _different(batches: Iterable[np.ndarray], side: int) -> tuple[Tensor, Tensor]:
    """The different patches, uint8 [n, side, side, 3], and how often each comes [n]."""
    counts: Counter[bytes] = Counter()
    for pictures in batches:
        counts.update(patch.tobytes() for patch in rearrange(pictures, "b (h p) (w q) c -> (b h w) (p q c)", p=side, q=side))
    rows = np.frombuffer(b"".join(counts), np.uint8).reshape(-1, side, side, 3)
    return torch.from_numpy(rows.copy()), torch.tensor(list(counts.values()), dtype=torch.float32)


def _apart(z: Tensor, weights: Tensor, known: Tensor, count: int, random: torch.Generator) -> Tensor:
    """``count`` new codes [count, dim] beside the ``known`` ones for vectors z [n, dim]."""
    new = known[:0]
    while len(new) < count:
        far = nearest(z, torch.cat([known, new]))[0]
        portion = min(max(1, count // PORTIONS), count - len(new))
        new = torch.cat([new, z[torch.multinomial(weights * far + 1e-12, portion, generator=random)]])
    for _ in range(ROUNDS):
        own = nearest(z, torch.cat([known, new]))[1] - len(known)
        mine = own >= 0
        sums = torch.zeros_like(new).index_add_(0, own[mine], z[mine] * weights[mine, None])
        total = torch.zeros(count).index_add_(0, own[mine], weights[mine])
        new = torch.where(total[:, None] > 0, sums / total[:, None].clamp(min=1e-12), new)
    return new


def nearest(z: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance [n] of vectors z [n, dim] from the nearest of the codes [k, dim], and which it is [n]."""
    parts = [(codes.square().sum(1) - 2 * part @ codes.T).min(1) for part in z.split(4096)]
    far = torch.cat([part.values for part in parts]) + z.square().sum(1)
    return far.clamp(min=0.0), torch.cat([part.indices for part in parts])
