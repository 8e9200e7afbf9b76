"""Pictures by parallel unmasking: every step draws all slots and masks the least sure ones again (fact sheet mmada, section 9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unimm.errors import BadInput
from unimm.mmada.backbone import Backbone, Cache, key_bias
from unimm.mmada.schedule import masked_share, share_after, still_masked
from unimm.sampling import filter_logits, guided

CACHES = ("none", "prompt", "settled")
"""What is kept of the first pass: nothing; the words' columns; the words' and those of every slot that is settled."""

_TINY = 1e-20


@dataclass(frozen=True)
class DrawPlan:
    """How to fill the slots in ``steps`` steps.

    ``guidance`` 1 is off (the published scale is this less one). ``greedy`` takes the likeliest code instead of drawing one;
    ``temperature`` only scales the noise of the confidences. ``scale`` is the number of slots that the schedule counts with: all
    of them, as published, or None for those unknown at the start. With a cache ``refresh`` computes everything anew every so
    many steps (0 = never).
    """

    steps: int
    guidance: float = 1.0
    temperature: float = 1.0
    greedy: bool = False
    schedule: str = "cosine"
    scale: int | None = None
    top_k: int = 0
    top_p: float = 1.0
    cache: str = "none"
    refresh: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.refresh < 0:
            raise BadInput("A picture needs at least one step, and no negative refresh.")
        if self.cache not in CACHES:
            raise BadInput(f"The picture cache must be one of {', '.join(CACHES)}, not {self.cache!r}.")
        masked_share(self.schedule, torch.tensor(0.5))


class DrawNoise(Protocol):
    """The random numbers of a step, asked for in this order."""

    def race(self, rows: int, slots: int, codes: int) -> Tensor:
        """Exponential numbers [rows, slots, codes]: the code with the largest p / q is drawn."""
        ...

    def uniform(self, rows: int, slots: int) -> Tensor:
        """[rows, slots] in [0, 1)."""
        ...


@dataclass(frozen=True)
class SeededDraws:
    """Numbers of one CPU generator, in the order in which the reference takes them."""

    generator: torch.Generator

    def race(self, rows: int, slots: int, codes: int) -> Tensor:
        return torch.empty(rows * slots, codes).exponential_(1, generator=self.generator).view(rows, slots, codes)

    def uniform(self, rows: int, slots: int) -> Tensor:
        return torch.empty(rows, slots).uniform_(0, 1, generator=self.generator)


@dataclass(frozen=True)
class Scene:
    """What a picture is drawn after.

    ``ids`` [B, L] end in ``<soi>``, the slots, ``<eoi>``; a slot holds an id of a code that is known, or the mask. ``mask`` [B, L]
    is 0 on padding. ``bare_ids`` and ``bare_mask`` are the same without the words, for guidance.
    """

    ids: Tensor
    mask: Tensor
    slots: int
    bare_ids: Tensor | None = None
    bare_mask: Tensor | None = None

    def trimmed(self) -> Scene:
        """Without the columns that are padding in every row: the same result, for positions only count relatively."""
        masks = self.mask if self.bare_mask is None else torch.cat([self.mask, self.bare_mask])
        begin = int(masks.any(0).nonzero()[0])
        bare = (None, None) if self.bare_ids is None else (self.bare_ids[:, begin:], self.bare_mask[:, begin:])
        return Scene(self.ids[:, begin:], self.mask[:, begin:], self.slots, *bare)

    def with_slots(self, slots: Tensor) -> Scene:
        """The same words with other slots [B, N] of full-vocabulary ids."""
        ids = self.ids.clone()
        ids[:, -self.slots - 1 : -1] = slots
        return Scene(ids, self.mask, self.slots, self.bare_ids, self.bare_mask)

    @property
    def given(self) -> Tensor:
        """The slots at the start, [B, N]."""
        return self.ids[:, -self.slots - 1 : -1]


@dataclass(frozen=True)
class DrawStep:
    """The state after a step, all [B, N] but where said.

    ``codes`` is the complete draw with known slots restored; ``sampled`` the draw before that; ``slots`` the full-vocabulary ids
    with the mask where a slot waits; ``chances`` the probability of each code (the largest fp32 number where it was known);
    ``masked`` [B] how many wait. ``probabilities`` [B, n, codes] are those of the ``columns`` [n] that were computed.
    """

    codes: Tensor
    sampled: Tensor
    slots: Tensor
    chances: Tensor
    masked: Tensor
    probabilities: Tensor
    columns: Tensor
    passes: int


class Easel:
    """Runs the backbone over a scene's slots, guided, and computes no more of it than the cache asks for."""

    def __init__(self, backbone: Backbone, scene: Scene, offset: int, plan: DrawPlan, mask_pads: bool = True) -> None:
        self.backbone, self.plan, self.offset = backbone, plan, offset
        self.both = plan.guidance != 1 and scene.bare_ids is not None
        if plan.guidance != 1 and scene.bare_ids is None:
            raise BadInput("Guidance needs the scene without its words too.")
        scene = self.cut(scene) if mask_pads else scene
        self.rows = torch.cat([scene.ids, scene.bare_ids]) if self.both else scene.ids.clone()
        masks = torch.cat([scene.mask, scene.bare_mask]) if self.both else scene.mask
        self.bias = key_bias(masks) if mask_pads else None
        self.first = self.rows.shape[1] - scene.slots - 1
        self.slots = scene.slots
        self.cache = Cache() if plan.cache != "none" else None
        self.stale = torch.ones(scene.slots, dtype=torch.bool, device=scene.ids.device)

    def cut(self, scene: Scene) -> Scene:
        """Leave out what cannot change the result; asked for only where padding is hidden."""
        return scene.trimmed()

    def logits(self, slots: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Slots [B, N] of full-vocabulary ids to guided fp32 logits [B, n, codes] of the slots ``columns`` [n]."""
        filled = torch.cat([slots, slots]) if self.both else slots
        changed = (self.rows[:, self.first : self.first + self.slots] != filled).any(0)
        self.rows[:, self.first : self.first + self.slots] = filled
        self.stale |= changed
        waits = (slots == self.backbone.config.mask).any(0)
        fresh = self.cache is None or not turn or (self.plan.refresh and turn % self.plan.refresh == 0)
        if fresh:
            columns = torch.arange(self.slots, device=slots.device)
            hidden = self.backbone(self.rows, self.bias, self.cache)[:, self.first : self.first + self.slots]
        else:
            columns = torch.arange(self.slots, device=slots.device) if self.plan.cache == "prompt" else (waits | self.stale).nonzero()[:, 0]
            places = columns + self.first
            hidden = self.backbone(self.rows[:, places], self.bias, self.cache, places)
        self.stale = torch.zeros_like(self.stale)
        logits = self.backbone.logits(hidden, self.offset, self.offset + self.backbone.config.codes)
        return (guided(*logits.chunk(2), self.plan.guidance) if self.both else logits), columns


@torch.inference_mode()
def unmask(
    backbone: Backbone, scene: Scene, offset: int, plan: DrawPlan, noise: DrawNoise, mask_pads: bool = True, easel: type[Easel] = Easel
) -> Iterator[DrawStep]:
    """Fill a scene's masked slots; yields after every step, the last one's ``codes`` are the picture.

    ``offset`` is the id of code 0. Without ``mask_pads`` padding is looked at, as the first releases were trained.
    """
    blank, codes = backbone.config.mask, backbone.config.codes
    board = easel(backbone, scene, offset, plan, mask_pads)
    slots, annealed = scene.given.clone(), plan.temperature
    unknown = (slots == blank).sum(1)
    scale = plan.scale if plan.scale is not None else int(unknown.max())
    for turn in range(plan.steps):
        waits = slots == blank
        logits, columns = board.logits(slots, turn)
        chances = filter_logits(logits, plan.top_k, plan.top_p).softmax(-1)
        race = None if plan.greedy else noise.race(*slots.shape, codes).to(slots.device)[:, columns]
        drawn = (chances if race is None else chances / race).argmax(-1)
        sampled = (slots - offset).clamp(min=0)
        sampled[:, columns] = drawn
        chance = torch.zeros(slots.shape, device=slots.device)
        chance[:, columns] = chances.gather(-1, drawn[..., None])[..., 0]
        chance = torch.where(waits, chance, torch.finfo(torch.float32).max)
        complete = torch.where(waits, sampled + offset, slots)
        annealed *= 1 - (turn + 1) / plan.steps
        left = still_masked(share_after(plan.schedule, turn, plan.steps), scale, waits.sum(1))
        slots = torch.where(_unsure(chance, left, annealed, noise), blank, complete)
        yield DrawStep(complete - offset, sampled, slots, chance, (slots == blank).sum(1), chances, columns, turn + 1)


def _unsure(chance: Tensor, left: Tensor, temperature: float, noise: DrawNoise) -> Tensor:
    """Which slots [B, N] to mask again: those whose noisy log-probability lies below that of rank ``left`` [B]."""
    uniform = noise.uniform(*chance.shape).to(chance.device)
    gumbel = -torch.log((-torch.log(uniform.clamp(min=_TINY))).clamp(min=_TINY))
    confidence = torch.log(chance.clamp(min=_TINY)) + temperature * gumbel
    last = chance.shape[1] - 1
    cut = confidence.sort(-1).values.gather(-1, left.clamp(max=last)[:, None])
    return confidence < cut
