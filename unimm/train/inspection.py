"""Stage 2b: the inspector learns to hold a picture against the one before it; all else stays as it is, bit for bit."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.star.layout import SEEN
from unimm.star.model import FAULT_WEIGHT, Star, pictures_to_pixels
from unimm.train.data import IGNORED, Batch
from unimm.train.understanding import read


def trains_inspection(name: str) -> bool:
    """Whether a parameter (named from the trainer) belongs to what this stage trains."""
    return name.removeprefix("star.").startswith("inspector.")


class InspectionTrainer(nn.Module):
    """Cross entropy of "this token is wrong" over pairs of pictures, with the base frozen.

    Raises ``ValueError`` where the network has no inspector.
    """

    def __init__(self, star: Star) -> None:
        super().__init__()
        if not star.config.inspector:
            raise ValueError("This configuration has no inspector to train.")
        self.star = star

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Loss and numbers over a batch of pairs: pictures [B, 2, H, W, 3], the second to be judged."""
        logits, wrong = self.logits(batch), batch.faults[:, 1]
        weight = torch.tensor([1.0, FAULT_WEIGHT], device=logits.device)
        loss = F.cross_entropy(logits.flatten(0, 1), wrong.flatten(), weight=weight, ignore_index=IGNORED)
        return loss, {"loss": loss.item()}

    def logits(self, batch: Batch) -> Tensor:
        """Logits (right, wrong) of the second pictures' tokens, [B, cells, 2]."""
        pixels = rearrange(pictures_to_pixels(rearrange(batch.pictures, "b k h w c -> (b k) h w c")), "(b k) c h w -> k b c h w", k=2)
        with torch.no_grad():
            tokens = torch.cat([self.star.see(picture) for picture in pixels], 1)
            hidden = read(self.star, batch, tokens).last_hidden_state
            second = (batch.kind == SEEN) & (batch.slot >= tokens.shape[1] // 2)
            states = rearrange(hidden[second], "(b l) d -> b l d", b=len(hidden))
        return self.star.fault_logits(states, *pixels)

    @torch.no_grad()
    def found(self, batch: Batch) -> dict[str, float]:
        """Of right pictures, the share in which no token is likelier wrong than right; of wrong ones, that in which one is; and of these,
        that in which the likeliest one is wrong."""
        right, wrong = self.logits(batch).unbind(-1)
        most, at = (wrong - right - math.log(FAULT_WEIGHT)).max(1)
        bad = (batch.faults[:, 1] == 1).any(1)
        placed = batch.faults[:, 1].gather(1, at[:, None])[:, 0] == 1
        rows = {"passed": (most < 0)[~bad], "refused": (most > 0)[bad], "placed": placed[bad]}
        return {name: row.float().mean().item() if len(row) else 1.0 for name, row in rows.items()}
