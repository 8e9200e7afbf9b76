"""Stage 2b: the inspector learns to tell what is wrong in a picture, and what is new; all else stays as it is, bit for bit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimm.star.inspector import FAULTY, MARKED, SEES, WHOLE
from unimm.star.model import FAULT_WEIGHT, Star, pictures_to_pixels
from unimm.train.data import IGNORED, Batch


def trains_inspection(name: str) -> bool:
    """Whether a parameter (named from the trainer) belongs to what this stage trains."""
    return name.removeprefix("star.").startswith("inspector.")


class InspectionTrainer(nn.Module):
    """Cross entropy of what a token is (SEES) over pairs of pictures.

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
        loss = F.cross_entropy(logits.float().flatten(0, 1), seen.flatten(), weight=weight, ignore_index=IGNORED)
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
