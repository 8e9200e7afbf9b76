"""What training needs beside the layouts: noising, the joint loss, and the loss of the reinforcement stage.

Sources: fact sheet mmada, sections 12 and 13. Pure functions of tensors; gradients flow where the logits have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from unimm.errors import BadInput
from unimm.mmada.prompts import IGNORE
from unimm.mmada.schedule import masked_share


@dataclass(frozen=True)
class Noised:
    """Rows with masks in them: ``ids`` and ``labels`` [B, n] (-100 where nothing was masked), ``rate`` [B] the mask probability."""

    ids: Tensor
    labels: Tensor
    rate: Tensor


def noise_picture(codes: Tensor, times: Tensor, uniform: Tensor, mask: int, schedule: str = "cosine", least: float = 0.0) -> Noised:
    """Mask max(1, round(N schedule(t))) slots of ids ``codes`` [B, N]; ``times`` [B] and ``uniform`` [B, N] are draws in [0, 1).

    Slot i is masked where ``argsort(uniform)[i]`` is below the count.
    """
    rate = masked_share(schedule, times).clamp(min=least)
    counts = (codes.shape[1] * rate).round().clamp(min=1)
    chosen = uniform.argsort(-1) < counts[:, None]
    return Noised(codes.masked_fill(chosen, mask), codes.masked_fill(~chosen, IGNORE), rate)


def noise_words(ids: Tensor, prompt: Tensor, times: Tensor, uniform: Tensor, mask: int) -> Noised:
    """Mask every token of ``ids`` [B, n] outside the prompt (1 in ``prompt``) with probability 0.999 t + 0.001."""
    rate = 0.999 * times + 0.001
    chosen = (uniform < rate[:, None]) & (prompt == 0)
    return Noised(ids.masked_fill(chosen, mask), ids.masked_fill(~chosen, IGNORE), rate)


def answer_lengths(prompt: Tensor) -> Tensor:
    """How many tokens of each row are answer, at every column: [B, n] from the prompt mask [B, n]; eos padding counts."""
    return (prompt == 0).sum(-1, keepdim=True).clamp(min=1).expand_as(prompt)


def _each(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every column [B, n], 0 where the label is -100."""
    flat = F.cross_entropy(rearrange(logits, "b n v -> (b n) v").float(), labels.reshape(-1), ignore_index=IGNORE, reduction="none")
    return flat.view(labels.shape)


def picture_loss(logits: Tensor, labels: Tensor, text_length: int) -> Tensor:
    """Mean cross-entropy over labelled columns from M + 1 on, so ``<soi>`` and ``<eoi>`` count too; logits [B, n, V]."""
    logits, labels = logits[:, text_length + 1 :], labels[:, text_length + 1 :]
    return F.cross_entropy(rearrange(logits, "b n v -> (b n) v").float(), labels.reshape(-1), ignore_index=IGNORE)


def words_loss(logits: Tensor, ids: Tensor, labels: Tensor, rate: Tensor, mask: int, answers: Tensor | None = None) -> Tensor:
    """Cross-entropy of masked columns over their mask probability ``rate`` (broadcast to [B, n]).

    With ``answers`` [B, n] every term is also over its row's answer length and the sum over rows is averaged (conversations,
    understanding); without, the sum is over rows times length (plain text).
    """
    terms = _each(logits, labels) * (ids == mask) / rate
    return terms.sum() / ids.numel() if answers is None else (terms / answers).sum() / len(ids)


@dataclass(frozen=True)
class JointBatch:
    """A batch whose rows are pictures, then words, then understanding; ``rows`` counts each.

    ``ids`` and ``labels`` [B, n]; ``words_rate`` and ``looking_rate`` broadcast to their rows; ``words_answers`` None is plain text.
    """

    ids: Tensor
    labels: Tensor
    rows: tuple[int, int, int]
    words_rate: Tensor
    looking_rate: Tensor
    looking_answers: Tensor
    words_answers: Tensor | None = None

    def __post_init__(self) -> None:
        if sum(self.rows) != len(self.ids):
            raise BadInput(f"The batch has {len(self.ids)} rows, its parts say {sum(self.rows)}.")


COEFFICIENTS = {
    "1.1": (1.0, 0.1, 1.0), "1.2": (1.0, 0.1, 0.5), "1.3": (1.0, 0.4, 0.5), "2.1": (1.0, 0.5, 0.5), "2.2": (0.05, 0.6, 0.4),
}  # fmt: skip
"""Weights of the picture, words and understanding losses in the published stages."""


def joint_losses(logits: Tensor, batch: JointBatch, text_length: int, mask: int) -> Mapping[str, Tensor]:
    """The three losses of a joint batch, by name; logits [B, n, V] of the whole batch."""
    draw, say, look = batch.rows
    one, two = slice(draw, draw + say), slice(draw + say, draw + say + look)
    return {
        "t2i": picture_loss(logits[:draw], batch.labels[:draw], text_length),
        "lm": words_loss(logits[one], batch.ids[one], batch.labels[one], batch.words_rate, mask, batch.words_answers),
        "mmu": words_loss(logits[two], batch.ids[two], batch.labels[two], batch.looking_rate, mask, batch.looking_answers),
    }


def joint_loss(losses: Mapping[str, Tensor], coefficients: tuple[float, float, float]) -> Tensor:
    """The weighted sum that is trained on."""
    return sum((weight * losses[name] for name, weight in zip(("t2i", "lm", "mmu"), coefficients, strict=True)), torch.tensor(0.0))


def group_advantages(rewards: Tensor, least: float = 0.05, most: float = 0.95) -> Tensor:
    """Rewards [groups, answers] to z-scores inside each group; a group nearly all right or nearly all wrong teaches nothing (0).

    ``least`` and ``most`` bound the mean of rewards in [0, 1].
    """
    mean, spread = rewards.mean(-1, keepdim=True), rewards.std(-1, keepdim=True)
    return ((rewards - mean) / (spread + 1e-6)).masked_fill((mean < least) | (mean > most), 0.0)


def answer_view(ids: Tensor, answer: Tensor, times: Tensor, uniform: Tensor, mask: int, eos: int) -> tuple[Tensor, Tensor]:
    """One masked view of responses for UniGRPO: (ids with masks, which columns are scored), both [B, n].

    ``answer`` is 1 on answer columns; ``times`` [B] are drawn in [0.1, 0.9]. Words of question and picture are never masked;
    what follows the answer's first eos always is, and is not scored.
    """
    ends = ((ids == eos) & (answer == 1)).long()
    after = (ends.cumsum(-1) - ends) > 0
    padding = after & (answer == 1)
    scored = (answer == 1) & ~padding & (uniform < times[:, None])
    return ids.masked_fill(scored | padding, mask), scored


def unigrpo_loss(new: Tensor, old: Tensor, scored: Tensor, advantages: Tensor, clip: float = 0.2, kl_weight: float = 0.01) -> Tensor:
    """Clipped policy loss plus KL over the scored columns of one view.

    ``new`` and ``old`` [B, n] are log-probabilities of the true tokens under the same masks, ``advantages`` [B]. The KL estimate
    of a token is exp(-d) - 1 + d with d = new - old; both terms are means over the scored columns of the batch.
    """
    gap = torch.where(scored, new - old, 0.0)
    ratio, advantage = gap.exp(), advantages[:, None]
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    divergence = (-gap).exp() - 1 + gap
    count = scored.sum().clamp(min=1)
    return ((kl_weight * divergence - gain) * scored).sum() / count
