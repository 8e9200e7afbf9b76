"""One row as the base of a released STAR reads it: ids with pictures in their places, then words that it writes itself.

What the base has read stays as keys, values and last hidden states; the stack draws from those states, so a thought that was
written here conditions the picture by its latents and is never read again as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unimm.sampling import SamplingOptions, sample
from unimm.star.backbone import new_cache
from unimm.star.model import Star
from unimm.star.processor import EditRows, Grid, SpecialIds, rope_positions
from unimm.star.released import Caches, base_states, edit_embeds, line, picture_embeds


@dataclass(frozen=True)
class Picture:
    """A picture as the base sees it: vision tokens [m, hidden] and their grid of patches."""

    tokens: Tensor
    grid: Grid


class Reading:
    """What the base has read of one row. It grows in place, so a row belongs to one stream."""

    def __init__(self, star: Star, embeds: Tensor, positions: Tensor, offset: int) -> None:
        """``embeds`` [1, L, hidden] at rope ``positions`` [3, L]; what follows stands at its index plus ``offset``."""
        self.star, self.positions, self.offset, self.cache = star, positions, offset, new_cache()
        with torch.inference_mode():
            self.hidden = self._pass(embeds, positions)

    @classmethod
    def chat(cls, star: Star, ids: Sequence[int], pictures: Sequence[Picture], special: SpecialIds, merge: int) -> Reading:
        """Words and pictures in any order; placeholders of pictures stand in ``ids``."""
        positions, offset = rope_positions(ids, [picture.grid for picture in pictures], special, merge)
        row = torch.tensor([list(ids)], device=star.device)
        with torch.inference_mode():
            tokens = torch.cat([picture.tokens for picture in pictures]) if pictures else None
            embeds = star.words(row) if tokens is None else picture_embeds(star, row, tokens, special.image_pad)
        return cls(star, embeds, positions, offset)

    @classmethod
    def edit(cls, star: Star, row: EditRows, codes: Tensor, picture: Picture, special: SpecialIds, merge: int) -> Reading:
        """One edit row (``row.ids`` is [1, L]) with the source's VQ ids [n] and vision tokens in their places."""
        positions, offset = rope_positions(row.ids[0].tolist(), [picture.grid], special, merge)
        placed = EditRows(row.ids.to(star.device), row.vq, row.vit)
        with torch.inference_mode():
            embeds = edit_embeds(star, placed, codes[None].to(star.device), picture.tokens)
        return cls(star, embeds, positions, offset)

    @property
    def length(self) -> int:
        return self.hidden.shape[1]

    def places(self, start: int, count: int) -> Tensor:
        """Rope positions [3, count] of inputs beyond what is read."""
        return line(start + self.offset, count)

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> None:
        """Read more words."""
        if not ids:
            return
        positions = self.places(self.length, len(ids))
        hidden = self._pass(self.star.words(torch.tensor([list(ids)], device=self.star.device)), positions)
        self.hidden, self.positions = torch.cat([self.hidden, hidden], 1), torch.cat([self.positions, positions], 1)

    @torch.inference_mode()
    def word_logits(self) -> Tensor:
        """Logits [vocabulary] of the word that comes next, fp32."""
        return self.star.word_logits(self.hidden[:, -1])[0].float()

    def _pass(self, embeds: Tensor, positions: Tensor) -> Tensor:
        return base_states(self.star, embeds, positions, Caches(base=self.cache))


@dataclass(frozen=True)
class Said:
    """A written word: its id and the probability that the model gave it."""

    id: int
    probability: float


def say(
    reading: Reading, count: int, options: SamplingOptions, generator: torch.Generator | None = None, stops: frozenset[int] = frozenset(),
    penalty: float = 1.0, before: Sequence[int] = (),
) -> Iterator[Said]:  # fmt: skip
    """Write at most ``count`` words into a reading, which has read each word when it is handed out; a stop word is not read.

    ``penalty`` above 1 makes every id of ``before`` (the row's own) and of what is written less likely, as generation
    configurations of the base ask for.
    """
    used = set(before)
    for _ in range(count):
        logits = reading.word_logits()
        token = int(sample(repelled(logits, used, penalty)[None], options, generator))
        if token in stops:
            return
        probability = float(logits.softmax(-1)[token])
        reading.read([token])
        used.add(token)
        yield Said(token, probability)


def repelled(logits: Tensor, used: set[int], penalty: float) -> Tensor:
    """Logits [vocabulary] with those of ``used`` ids divided by ``penalty`` where positive, multiplied where negative."""
    if penalty == 1 or not used:
        return logits
    ids = torch.tensor(sorted(used), device=logits.device)
    old = logits[ids]
    return logits.index_put((ids,), torch.where(old > 0, old / penalty, old * penalty))
