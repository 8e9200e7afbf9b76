"""MMaDA's caches against the plain loops, with random weights at a middle size.

The plain loops are the published ones: every step runs the whole row. What a cache leaves out is not recomputed, so its
results are an approximation; the share of tokens that come out otherwise is measured and said. Random weights decide by
smaller margins than trained ones do, so that share is no forecast for a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from unimm.errors import BadInput
from unimm.mmada.backbone import Backbone
from unimm.mmada.config import BackboneConfig, SpecialIds
from unimm.mmada.prompts import Layout
from unimm.mmada.text import SeededNoise, WritePlan, write
from unimm.mmada.unmask import DrawPlan, Easel, Scene, SeededDraws, unmask
from unimm.sampling import guided
from unimm.timing import Race, race

SIZES = {
    "middle": BackboneConfig(
        width=512, layers=4, heads=8, kv_heads=8, hidden=1536, rows=9472, rope_theta=500000.0, eps=1e-5, context=2048, codes=1024,
        slots=256, mask=8256, eos=8001,
    ),
    "small": BackboneConfig(
        width=64, layers=2, heads=4, kv_heads=4, hidden=112, rows=320, rope_theta=500000.0, eps=1e-5, context=512, codes=64,
        slots=16, mask=236, eos=201,
    ),
}  # fmt: skip
"""Middle: as many slots, and at most as many words, as in the second published training stage (fact sheet mmada, section 12)."""

WORDS, BLOCK, BLOCKS = 40, 32, 2
"""Tokens of a question or wish; blocks of an answer."""


class PlainEasel(Easel):
    """The published picture loop: padding computed, the whole vocabulary for every column, one pass with the words and one without."""

    def cut(self, scene: Scene) -> Scene:
        return scene

    def logits(self, slots: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        self.rows[:, self.first : self.first + self.slots] = torch.cat([slots, slots]) if self.both else slots
        passes = [
            self.backbone.logits(self.backbone(self.rows[row : row + 1], None if self.bias is None else self.bias[row : row + 1]))
            for row in range(len(self.rows))
        ]
        whole = guided(*passes, self.plan.guidance) if self.both else torch.cat(passes)
        codes = whole[:, self.first : self.first + self.slots, self.offset : self.offset + self.backbone.config.codes]
        return codes, torch.arange(self.slots, device=slots.device)


def random_backbone(config: BackboneConfig, gain: float = 1.0, seed: int = 0) -> Backbone:
    """Weights that keep the size of what they are given, so that columns differ from each other and no layer amplifies a change."""
    generator = torch.Generator().manual_seed(seed)
    backbone = Backbone(config).eval().requires_grad_(False)
    for name, value in backbone.named_parameters():
        if value.ndim == 2:
            scale = 1.0 if "wte" in name else gain * value.shape[1] ** -0.5
            value.copy_(torch.randn(value.shape, generator=generator) * scale)
    return backbone


def races(repeat: int = 3, size: str = "middle") -> Iterator[Race]:
    """Each cache against the plain loop; raises ``BadInput`` for a size that there is none of."""
    if size not in SIZES:
        raise BadInput(f"There is no size {size!r}. Take one of: {', '.join(SIZES)}.")
    config = SIZES[size]
    backbone, special = random_backbone(config), SpecialIds.placed(config.eos, config.mask)
    yield from _text_races(backbone, special, repeat)
    yield from _picture_races(backbone, special, repeat)


def _text_races(backbone: Backbone, special: SpecialIds, repeat: int) -> Iterator[Race]:
    """Answers to a question about a picture, two tokens a step."""
    config, draw = backbone.config, torch.Generator().manual_seed(1)
    image = torch.randint(special.offset, special.offset + config.codes, (config.slots,), generator=draw)
    question = torch.randint(special.bos, (WORDS,), generator=draw)
    prompt = torch.tensor([Layout(special, config.slots).looking(question.tolist(), image.tolist())])
    length, steps = BLOCK * BLOCKS, BLOCK * BLOCKS // 2
    barred = torch.ones(config.rows, dtype=torch.bool)
    barred[: special.bos] = False

    def way(cache: str, threshold: float | None = None) -> Callable[[], Tensor]:
        plan = WritePlan(length, BLOCK, steps, cache=cache, threshold=threshold, within_block=True, barred=barred)
        return lambda: _last(write(backbone, prompt, plan, SeededNoise(torch.Generator().manual_seed(0)))).ids[:, prompt.shape[1] :]

    plain = "the plain loop", way("none")
    yield race("mmada", "text, prefix cache", plain, ("prefix cache", way("prefix")), differing("tokens"), repeat)
    yield race("mmada", "text, dual cache", plain, ("dual cache", way("dual")), differing("tokens"), repeat)
    sure = ("dual cache and threshold", way("dual", _median_confidence(backbone, prompt, barred)))
    yield race("mmada", "text, cache and threshold", plain, sure, differing("tokens"), repeat)


def _median_confidence(backbone: Backbone, prompt: Tensor, barred: Tensor) -> float:
    """A threshold that half of a first block's candidates reach: random weights have no 0.9 to wait for."""
    plan = WritePlan(BLOCK, BLOCK, 1, within_block=True, barred=barred)
    step = _last(write(backbone, prompt, plan, SeededNoise(torch.Generator())))
    return float(step.confidence[0, prompt.shape[1] :].median())


def _picture_races(backbone: Backbone, special: SpecialIds, repeat: int) -> Iterator[Race]:
    """A guided picture in the published 15 steps."""
    config = backbone.config
    layout = Layout(special, config.slots)
    words = torch.randint(special.bos, (WORDS,), generator=torch.Generator().manual_seed(2)).tolist()
    rows = [layout.drawing(one, [special.mask] * config.slots) for one in (words, [])]
    ids, mask = torch.tensor([row.ids for row in rows]), torch.tensor([row.mask for row in rows])
    scene = Scene(ids[:1], mask[:1], config.slots, ids[1:], mask[1:])

    def way(cache: str, easel: type[Easel] = Easel) -> Callable[[], Tensor]:
        plan = DrawPlan(15, 4.5, scale=config.slots, cache=cache)

        def work() -> Tensor:
            draws = SeededDraws(torch.Generator().manual_seed(0))
            return _last(unmask(backbone, scene, special.offset, plan, draws, easel=easel)).codes

        return work

    plain = "the plain loop", way("none", PlainEasel)
    yield race("mmada", "picture, exact", plain, ("one batch, no padding, codes only", way("none")), differing("codes", most=0.0), repeat)
    yield race("mmada", "picture, prompt cache", plain, ("cached words", way("prompt")), differing("codes"), repeat)
    yield race("mmada", "picture, settled cache", plain, ("cached words and settled slots", way("settled")), differing("codes"), repeat)


Step = TypeVar("Step")


def _last(steps: Iterator[Step]) -> Step:
    """The last element of an iterator that has one."""
    *_, last = steps
    return last


def differing(what: str, most: float = 1.0) -> Callable[[Tensor, Tensor], str]:
    """A contract that measures the share of differing entries, and raises above ``most``."""

    def measure(slow: Tensor, fast: Tensor) -> str:
        share = (slow != fast).float().mean().item()
        if share > most:
            raise AssertionError(f"{share:.1%} of the {what} differ, at most {most:.1%} may.")
        return "identical" if share == 0 else f"{share:.1%} of the {what} differ"

    return measure
