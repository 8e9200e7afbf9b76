"""What MMaDA's parity checks share: the folder's models, the register of checks, and small comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unimm.mmada.backbone import Backbone
from unimm.mmada.config import BackboneConfig, SpecialIds
from unimm.mmada.loading import load_backbone, load_vq
from unimm.mmada.prompts import Row
from unimm.mmada.vq import MagvitV2
from unimm.parity import EXACT, Case, Check, Compared, Golden, registrar

PIXELS, LOGITS, CONFIDENCE, PROBABILITY, SCHEDULE, RESIZED = 2e-4, 1e-4, 1e-5, 1e-4, 1e-6, 1e-5
"""Tolerances of the folder's README."""


@dataclass
class Shared:
    """What the checks share: the folder's config and special ids and, once asked for, its weights."""

    golden: Golden

    @cached_property
    def config(self) -> BackboneConfig:
        return BackboneConfig.from_dict(self.golden.config)

    @cached_property
    def special(self) -> SpecialIds:
        return SpecialIds.from_names(self.golden.cases["layout"])

    @property
    def text_length(self) -> int:
        return self.golden.cases["max_text_len"]

    @cached_property
    def backbone(self) -> Backbone:
        return load_backbone(self.golden.folder, self.config).float()

    @cached_property
    def vq(self) -> MagvitV2:
        return load_vq(self.golden.folder / "vq")

    @property
    def same_torch(self) -> bool:
        """Seeded draws are only promised to repeat within one version of torch."""
        made = self.golden.cases.get("runtime", {}).get("torch", "")
        return made.split(".")[:2] == torch.__version__.split(".")[:2]


GROUPS: dict[str, Check] = {}
check = registrar(GROUPS)




def number(case: Case, what: str, actual: Any, expected: Any) -> None:
    """Hold a plain value of the parameters against ours."""
    case.compared.append(Compared(what, 0.0 if actual == expected else float("inf"), EXACT))


def optional(case: Case, tensor: str) -> Tensor | None:
    """A tensor of a case, or None where the folder has none."""
    if tensor not in case:
        return None
    return case[tensor]


def stack(rows: list[Row], name: str) -> Tensor:
    return torch.tensor([getattr(row, name) for row in rows])
