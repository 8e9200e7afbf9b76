"""Stage 2b: the inspector learns to tell what is wrong in a picture, and what is new; all else stays as it is, bit for bit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimm.star.inspector import DAMAGED, FAULTY, MARKED, MISSED, OVERDONE, SEES, WHOLE
from unimm.star.model import FAULT_WEIGHT, Star, pictures_to_pixels
from unimm.train.data import IGNORED, Batch

STEEP = 6.0
"""How fast a token that is worn turns into a damaged one, by the logarithm of its wear: with half of what makes it so it hardly is,
with all of it as likely as not, with twice as much it surely is."""


def trains_inspection(name: str) -> bool:
    """Whether a parameter (named from the trainer) belongs to what this stage trains."""
    return name.removeprefix("star.").startswith("inspector.")


class InspectionTrainer(nn.Module):
    """Cross entropy of what a token is (SEES) over pairs of pictures.

    Where it is known how worn a token is, it is damaged by a share: there is more to learn from "nearly too much" than from "right".

    Raises ``ValueError`` where the network has no inspector.
    """

    def __init__(self, star: Star) -> None:
        super().__init__()
        if not star.config.inspector:
            raise ValueError("This configuration has no inspector to train.")
        self.star = star

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss and numbers over a batch of pairs: pictures [B, 2, H, W, 3], the second to be judged."""
        logits, seen = self.star.inspector(*self._pixels(batch)), batch.faults[:, 1]
        weight = torch.tensor([1.0, *(FAULT_WEIGHT for _ in SEES[1:])], device=logits.device)
        wanted = _shares(seen, batch.wear[:, 1]) * weight
        loss = -(wanted * logits.float().log_softmax(-1)).sum() / wanted.sum()
        return loss, {"loss": loss.item()}

    @torch.no_grad()
    def found(self, batch: Batch) -> dict[str, float]:
        """Of pictures without a FAULTY token, the share in which none is likelier so than not; of others, that in which one is; of these,
        that in which the likeliest one is; and where it is, that in which it is what it is taken for. Of pictures without one in which
        there is something new, the share in which all of that is seen, and nothing else."""
        chances, kinds = self.star.damage(*self._pixels(batch))
        most, at = chances.max(1)
        seen = batch.faults[:, 1]
        faulty, new = (seen >= FAULTY.start) & (seen < FAULTY.stop), seen >= MARKED
        bad, fresh = faulty.any(1), new.any(1)
        there, taken, wrong = (table.gather(1, at[:, None])[:, 0] for table in (seen, kinds, faulty))
        placed = bad & wrong
        read = (torch.where(new, seen, WHOLE) == torch.where(kinds >= MARKED, kinds, WHOLE)).all(1)
        rows = {"passed": (most < 0.5)[~bad], "refused": (most > 0.5)[bad], "placed": placed[bad], "named": (there == taken)[placed],
                "read": read[fresh & ~bad]}  # fmt: skip
        return {name: row.float().mean().item() if len(row) else 1.0 for name, row in rows.items()}

    def _pixels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        before, after = (pictures_to_pixels(batch.pictures[:, number]) for number in (0, 1))
        return before, after


def _shares(seen: Tensor, wear: Tensor) -> Tensor:
    """What tokens are [B, cells], and their wear in percent, IGNORED where it is not known -> how much they are each of SEES [B, cells, 6].

    What is not judged is none of them. What is damaged for another reason than its wear is so wholly, and wear alone damages nothing
    by more than half.
    """
    hard = F.one_hot(seen.clamp(min=0), len(SEES)).float() * (seen != IGNORED)[..., None]
    worn = (STEEP * (wear.clamp(min=1) / 100).log()).sigmoid()
    damaged = torch.where(seen == DAMAGED, torch.where(wear < 100, 1.0, worn), worn.clamp(max=0.5))
    told = (wear != IGNORED) & (seen != MISSED) & (seen != OVERDONE)
    damaged = torch.where(told, damaged, hard[..., DAMAGED])[..., None]
    sole = F.one_hot(torch.tensor(DAMAGED), len(SEES)).to(hard)
    rest = torch.where((seen == DAMAGED)[..., None], F.one_hot(torch.tensor(WHOLE), len(SEES)).to(hard), hard)
    judged = (seen != IGNORED)[..., None]
    return judged * (damaged * sole + (1 - damaged) * rest)
