"""The third stage: a small decoder learns to make crisp pictures of VQ codes; everything else, the VQ included, stays as it is."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unimm.star.config import StarConfig
from unimm.star.model import pictures_to_pixels
from unimm.star.sharpen import Draft, Sharpener, draft_of
from unimm.star.vq import VQModel

PLAIN = 0.15
"""Weight of a square in which the VQ drew one colour: most of a picture, soon learnt, and still to stay flat."""
CONTRAST = 0.06
"""Difference of levels, of 2, above which a square is not one colour."""
NOISIEST, SPREAD = -0.4, 1.2
"""Mean and deviation of the logit of the times trained at; a share ``FROM_NOISE`` begins at time 0, as every drawing does."""
FROM_NOISE = 0.2
MISTAKEN, NEAREST = 0.03, 6
"""Share of the drawn codes that are others in training, and from how many of the nearest ones these are."""
UNTOLD = -1
"""In the place of a code that nobody told: the VQ tells it."""
LEAST_LEVEL = 0.2
"""Velocities near the end would outweigh everything; below this noise level errors count as if at it."""


@dataclass(frozen=True)
class Pair:
    """Shown pictures, uint8 [H, W, 3], before (None: drawn from nothing) and after.

    ``codes`` [2, h, w] are those of the picture before and of a drawing that was to become the one after; None: the VQ's own of both.
    """

    source: np.ndarray | None
    target: np.ndarray
    codes: np.ndarray | None = None


@dataclass(frozen=True)
class Pairs:
    """Pairs of one size: uint8 [B, H, W, 3], where ``edits`` [B] is set sources that count, and codes [B, 2, cells], those below 0 being
    for the VQ to tell; None where it tells all."""

    sources: Tensor
    targets: Tensor
    edits: Tensor
    codes: Tensor | None = None


def gathered(pairs: Sequence[Pair]) -> Pairs:
    sources = [np.zeros_like(pair.target) if pair.source is None else pair.source for pair in pairs]
    edits = torch.tensor([pair.source is not None for pair in pairs])
    return Pairs(torch.from_numpy(np.stack(sources)), torch.from_numpy(np.stack([pair.target for pair in pairs])), edits, _codes(pairs))


def _codes(pairs: Sequence[Pair]) -> Tensor | None:
    known = next((pair.codes for pair in pairs if pair.codes is not None), None)
    if known is None:
        return None
    rows = [np.full_like(known, UNTOLD) if pair.codes is None else pair.codes for pair in pairs]
    return torch.from_numpy(np.stack(rows)).flatten(2)


def cropped(rng: random.Random, pair: Pair, rows: int, columns: int, cell: int) -> Pair:
    """A part of rows x columns cells with something in it that changes, as the decoder is given when it draws an edit."""
    height, width = (side // cell for side in pair.target.shape[:2])
    row, column = rng.randrange(height), rng.randrange(width)
    if pair.source is not None:
        differs = reduce((pair.source != pair.target).any(-1), "(h p) (w q) -> h w", "max", p=cell, q=cell)
        if differs.any():
            row, column = rng.choice(np.argwhere(differs).tolist())
    top = rng.randint(max(0, row - rows + 1), min(row, height - rows))
    left = rng.randint(max(0, column - columns + 1), min(column, width - columns))
    place = (slice(top * cell, (top + rows) * cell), slice(left * cell, (left + columns) * cell))
    codes = None if pair.codes is None else pair.codes[:, top : top + rows, left : left + columns]
    return Pair(None if pair.source is None else pair.source[place], pair.target[place], codes)


def batches(pairs: Iterable[Pair], cell: int, cells: int, seed: int = 0, blank: float = 0.2) -> Iterator[Pairs]:
    """Endless batches of about ``cells`` cells: parts of one size, whole pictures often; a share ``blank`` loses its source."""
    rng, pairs = random.Random(f"decoder batches:{seed}"), iter(pairs)
    while True:
        whole = rng.random() < 0.3
        rows, columns = (8, 8) if whole else (rng.randint(3, 8), rng.randint(3, 8))
        count = max(1, round(cells / (rows * columns)))
        taken = [cropped(rng, pair, rows, columns, cell) for pair in islice(pairs, count)]
        yield gathered([Pair(None, pair.target) if rng.random() < blank else pair for pair in taken])


class DecoderTrainer(nn.Module):
    """Flow matching of shown pictures, given the VQ's codes of them at the model's size."""

    def __init__(self, vq: VQModel, config: StarConfig, sharpener: Sharpener | None = None) -> None:
        super().__init__()
        self.vq, self.config = vq, config
        self.sharpener = sharpener or Sharpener(config)

    @torch.no_grad()
    def draft(self, pairs: Pairs) -> tuple[Draft, Tensor]:
        """What the decoder is given for the targets, and the targets [B, 3, H, W]."""
        with torch.autocast(pairs.targets.device.type, enabled=False):
            sources, targets = pictures_to_pixels(pairs.sources), pictures_to_pixels(pairs.targets)
            ids, source_ids = (self.vq.encode(F.avg_pool2d(pixels, self.config.scale)) for pixels in (targets, sources))
            columns = targets.shape[3] // (self.config.vq.factor * self.config.scale)
            if pairs.codes is not None:
                told, drawn = pairs.codes.unbind(1)
                ids, source_ids = torch.where(drawn < 0, ids, drawn), torch.where(told < 0, source_ids, told)
            kept = ids == source_ids
            draft = draft_of(self.vq, self._mistaken(ids, kept), columns, sources, kept, self.config.scale)
        there = pairs.edits[:, None, None, None].float()
        return Draft(draft.codes, draft.drawn, draft.source * there, draft.kept * there), targets

    def _mistaken(self, ids: Tensor, kept: Tensor) -> Tensor:
        """In training, a share MISTAKEN of the drawn codes [B, cells] replaced by near ones: what draws takes such for the right ones now
        and then, and what stands around them, and in the source, tells."""
        swap = (torch.rand(ids.shape, device=ids.device) < MISTAKEN * self.training) & ~kept
        if not swap.any():
            return ids
        table = self.vq.quantize.embedding.weight.float()
        near = torch.cdist(table[ids[swap]], table).topk(NEAREST + 1, largest=False).indices
        choice = torch.randint(0, NEAREST + 1, (len(near), 1), device=ids.device)
        return ids.masked_scatter(swap, near.gather(1, choice)[:, 0])

    def forward(self, pairs: Pairs) -> tuple[Tensor, dict[str, float]]:
        """Mean square error of the velocity, over what is drawn; squares of one colour count little."""
        draft, targets = self.draft(pairs)
        time = torch.sigmoid(NOISIEST + SPREAD * torch.randn(len(targets), device=targets.device))
        time = torch.where(torch.rand_like(time) < FROM_NOISE, 0.0, time)
        level = rearrange(1 - time, "b -> b 1 1 1")
        noisy = (1 - level) * targets + level * torch.randn_like(targets)
        # the fused attention's backward pass is many times slower on a CPU
        with sdpa_kernel(SDPBackend.MATH):
            clean = self.sharpener(noisy, time, draft)
        error = reduce((clean - targets).square(), "b c h w -> b 1 h w", "mean")
        weights = self._weights(draft)
        loss = _mean(error / level.clamp(min=LEAST_LEVEL).square(), weights)
        base = reduce((self.sharpener.enlarged(draft) - targets).square(), "b c h w -> b 1 h w", "mean")
        return loss, {"loss": loss.item(), "error": _mean(error, weights).item(), "vq_error": _mean(base, weights).item()}

    def _weights(self, draft: Draft) -> Tensor:
        """Weight of every shown pixel [B, 1, H, W]: 0 where the source is kept, little where the VQ drew one colour.

        It hangs on what the decoder is given only, so that the mean it learns is not bent.
        """
        side = self.config.vq.factor // 2
        least, most = (reduce(draft.drawn, "b c (h p) (w q) -> b c h w", kind, p=side, q=side) for kind in ("min", "max"))
        busy = ((most - least).amax(1, keepdim=True) > CONTRAST).float()
        weights = F.interpolate(PLAIN + (1 - PLAIN) * busy, draft.source.shape[2:])
        return weights * (F.interpolate(draft.kept, draft.source.shape[2:]) <= 0)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)


def trains_decoder(name: str) -> bool:
    """Whether a parameter (named from the trainer) belongs to what the third stage trains."""
    return name.startswith("sharpener.")
