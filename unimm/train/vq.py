"""Stage 1: the VQ model learns to write pictures as codes and to read them back."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.star.model import pictures_to_pixels
from unimm.star.vq import NOWHERE, VQModel

FREE_STEPS = 300
"""Steps at the start in which nothing is rounded to codes: a plain autoencoder learns fast and gives the codes their places."""
IDLE_STEPS = 30
"""Steps without use after which a code is put elsewhere."""


class VQTrainer(nn.Module):
    """A VQ model with what only its training needs: the straight-through step and the revival of dead codes."""

    def __init__(self, vq: VQModel) -> None:
        super().__init__()
        self.vq = vq
        self.register_buffer("idle", torch.full((vq.config.codebook_size,), IDLE_STEPS + 1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss for pixels [B, 3, H, W] in [-1, 1]: reconstruction, codebook and commitment."""
        z = self.vq.pre_quant(pixels).float()
        rounds = int(self.steps) >= FREE_STEPS
        if self.training:
            self.steps += 1
        loss = 0.0
        if rounds:
            if self.training:
                self._revive(rearrange(z.detach(), "b c h w -> (b h w) c"))
            ids = self.vq.nearest(z)
            codes = rearrange(self.vq.codes(ids), "b (h w) c -> b c h w", h=z.shape[2]).float()
            loss = F.mse_loss(codes, z.detach()) + 0.25 * F.mse_loss(z, codes.detach())
            z = z + (codes - z).detach()
            if self.training:
                used = torch.bincount(ids.flatten(), minlength=len(self.idle)) > 0
                self.idle.copy_(torch.where(used, 0, self.idle + 1))
        reconstruction, psnr = _apart(self.vq.decode_codes(z).float(), pixels)
        alive = (self.idle < IDLE_STEPS).float().mean()
        return reconstruction + loss, {"loss": reconstruction.item(), "psnr": psnr, "alive": alive.item()}

    @torch.no_grad()
    def _revive(self, rows: Tensor) -> None:
        """Put codes that went unused for long where the farthest encoder outputs are: rare patches get codes of their own."""
        table = self.vq.quantize.embedding.weight
        dead = (self.idle > IDLE_STEPS).nonzero().flatten()
        if len(dead):
            far = torch.cdist(rows, table[self.idle <= IDLE_STEPS].float()).amin(1) if len(dead) < len(table) else torch.ones(len(rows))
            picked = rows[torch.multinomial(far.square() + 1e-9, len(dead), replacement=True)]
            table[dead] = (picked + 0.02 * rows.std() * torch.randn_like(picked)).to(table.dtype)
            self.idle[dead] = 0


class VQDecoderTrainer(nn.Module):
    """The way from codes to pixels alone, while the codes and what they stand for stay as they are: it can go on beside later stages."""

    def __init__(self, vq: VQModel) -> None:
        super().__init__()
        self.vq = vq

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss of the reconstruction of pixels [B, 3, H, W] in [-1, 1] from their codes."""
        rows, _ = self.vq.grid(pixels)
        with torch.no_grad():
            codes = rearrange(self.vq.codes(self.vq.encode(pixels)), "b (h w) c -> b c h w", h=rows).float()
        loss, psnr = _apart(self.vq.decode_codes(codes).float(), pixels)
        return loss, {"loss": loss.item(), "psnr": psnr}


def trains_vq_decoder(name: str) -> bool:
    return name.startswith(("vq.decoder.", "vq.post_quant_conv."))


def _apart(drawn: Tensor, pixels: Tensor) -> tuple[Tensor, float]:
    """How far pixels are from what they should be: the loss, what is conspicuous counting more, and the plain PSNR in dB."""
    error, weight = drawn - pixels, conspicuous(pixels)
    psnr = -10 * torch.log10(error.detach().square().mean() / 4 + 1e-9)
    return (weight * (error.abs() + 2 * error.square())).mean() / weight.mean(), psnr.item()


def conspicuous(pixels: Tensor) -> Tensor:
    """How much each pixel of [B, 3, H, W] counts, [B, 1, H, W]: thin lines on white paper are few pixels, and their colour matters."""
    darkness = (1 - pixels.amin(1, keepdim=True)) / 2
    colour = (pixels.amax(1, keepdim=True) - pixels.amin(1, keepdim=True)) / 2
    return 1 + 2 * darkness + 4 * colour


@torch.no_grad()
def drop_twins(table: Tensor, closeness: float = 0.02) -> int:
    """Take codes out of use, in place, that lie all but on top of an earlier one; returns how many.

    Revival puts codes beside patches that are frequent already; of such twins one is enough, and with one alone a
    drawn patch reads back as the code that drew it. ``closeness`` is a share of the median length of a code [codes, dim].
    """
    alive = table.abs().amax(1) < NOWHERE / 2
    distance = torch.cdist(table, table) < closeness * table[alive].norm(dim=1).median()
    kept = alive.clone()
    for code in alive.nonzero().flatten().tolist():
        if kept[code]:
            twins = distance[code] & kept
            twins[: code + 1] = False
            kept &= ~twins
    table[alive & ~kept] = NOWHERE
    return int((alive & ~kept).sum())


def vq_loss(trainer: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]:
    """Loss of a batch of uint8 pictures [B, H, W, 3]."""
    return trainer(pictures_to_pixels(torch.as_tensor(batch)))
