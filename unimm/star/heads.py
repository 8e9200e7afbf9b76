"""STAR's heads over the codebook: what each adds to a code's logit, and all of them as one matrix for drawing."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unimm.star.vq import NOWHERE, VQModel

NEVER = -1e4
"""Logit of a code that is out of use."""


def idle_codes(table: Tensor) -> Tensor:
    """Which codes of the codebook [codes, code] are out of use: bool [codes]."""
    return table.abs().amax(1) > NOWHERE / 2


class CodeHead(nn.Module):
    """Logits over the codebook from the codes' own vectors: codes that look alike are drawn alike. Codes out of use get none."""

    def __init__(self, code: int, hidden: int) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Linear(code, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.say = nn.Linear(hidden, hidden, bias=False)
        nn.init.zeros_(self.say.weight)

    def forward(self, hidden: Tensor, table: Tensor) -> Tensor:
        """``hidden`` [..., hidden] and the codebook [codes, code] to logits [..., codes]."""
        return (self.say(hidden) @ self.looks(table).T).masked_fill(idle_codes(table), NEVER)

    def looks(self, table: Tensor) -> Tensor:
        """What the codes of the codebook [codes, code] look like, [codes, hidden]."""
        return self.look(table.masked_fill(idle_codes(table)[:, None], 0.0))


LOOK_PX = 8
"""Pixels along one side of what a code looks like."""


class ChangeHead(nn.Module):
    """Logits over the codebook from what is to be seen at a place: the source's code there, changed as the stack says.

    ``looks`` [codes, 3 * LOOK_PX**2 + code] is what each code stands for, small and apart from white, and behind it the code itself;
    it comes from the trained VQ (``set_looks``) and is not trained. A code's logit is its squared distance from the look that is
    wanted, times a sharpness.
    """

    def __init__(self, hidden: int, codes: int, code: int) -> None:
        super().__init__()
        self.change = nn.Linear(hidden, 3 * LOOK_PX**2 + code)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)
        self.sharpness = nn.Parameter(torch.tensor(-2.3))
        self.register_buffer("looks", torch.zeros(codes, 3 * LOOK_PX**2 + code))

    def forward(self, hidden: Tensor, source: Tensor | None) -> Tensor:
        """``hidden`` [..., hidden] and the source's ids [...] (-1 or None: nothing there) to logits [..., codes]."""
        wanted = self.wanted(hidden, source)
        with torch.autocast(hidden.device.type, enabled=False):
            looks = self.looks.float()
            return self.sharpness.float().exp() * (2 * wanted @ looks.T - looks.square().sum(1))

    def wanted(self, hidden: Tensor, source: Tensor | None) -> Tensor:
        """How the code should look, [..., 3 * LOOK_PX**2 + code] in float32."""
        wanted = self.change(hidden).float()
        return wanted if source is None else wanted + self.looks[source.clamp(min=0)].float() * (source >= 0)[..., None]

    @torch.no_grad()
    def set_looks(self, vq: VQModel, batches: Iterable[Tensor]) -> None:
        """Fill ``looks`` with the mean of the patches that each code stands for in batches of pixels [B, 3, H, W].

        Codes that stand for none of them look like the nearest code that does.
        """
        table = vq.quantize.embedding.weight.float()
        sums, counts = torch.zeros(len(table), 3 * LOOK_PX**2), torch.zeros(len(table))
        for pixels in batches:
            ids, small = vq.encode(pixels).flatten(), F.avg_pool2d(pixels - 1, vq.config.factor // LOOK_PX)
            sums.index_add_(0, ids, rearrange(small, "b c (h p) (w q) -> (b h w) (c p q)", p=LOOK_PX, q=LOOK_PX))
            counts += torch.bincount(ids, minlength=len(counts))
        seen = counts > 0
        means = (sums[seen] / counts[seen, None])[torch.cdist(table, table[seen]).argmin(1)]
        codes = table.masked_fill(idle_codes(table)[:, None], 0.0)
        weight = (means[seen].square().sum(1).mean() / codes[seen].square().sum(1).mean()).sqrt()
        self.looks.copy_(torch.cat([means, weight * codes], 1))


class JoinedHead(nn.Module):
    """What output head, code head and change head say together, as one matrix over the codes in use.

    All three are linear in the stack's state once the weights stand still; what the change head adds for a source's token hangs on that
    token alone, and is computed once a picture (``lean``).
    """

    def __init__(self, output: nn.Linear, code: CodeHead, change: ChangeHead, table: Tensor) -> None:
        super().__init__()
        used = (~idle_codes(table)).nonzero()[:, 0]
        looks, sharp = change.looks[used].float(), change.sharpness.float().exp()
        said, changed = code.looks(table)[used].float(), 2 * sharp * looks
        weight = output.weight[used].float() + said @ code.say.weight.float() + changed @ change.change.weight.float()
        bias = output.bias[used].float() + changed @ change.change.bias.float() - sharp * looks.square().sum(1)
        parts = {"used": used, "weight": weight, "bias": bias, "changed": changed, "looks": change.looks}
        for name, value in parts.items():
            self.register_buffer(name, value, persistent=False)
        self.codes = len(table)

    def lean(self, source: Tensor) -> Tensor:
        """What the source's ids [...] add to the logits of the codes in use [..., used]; -1 adds nothing."""
        return (self.looks[source.clamp(min=0)].float() * (source >= 0)[..., None]) @ self.changed.T

    def forward(self, hidden: Tensor, lean: Tensor | None) -> Tensor:
        """Stack states [..., hidden] and what their sources lean to [..., used] to logits [..., codes]."""
        logits = F.linear(hidden.float(), self.weight, self.bias)
        whole = logits.new_full((*logits.shape[:-1], self.codes), NEVER)
        whole[..., self.used] = logits if lean is None else logits + lean
        return whole
