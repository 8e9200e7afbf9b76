"""The settings of an MMaDA: every control of the published demo, and those of editing and of the caches."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from unimm.errors import BadInput
from unimm.mmada import schedule, text, unmask
from unimm.mmada.pictures import FITS
from unimm.model import Options, option


def choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    """A dataclass field that takes one of a few words."""
    return field(default=default, metadata={"choices": choices, "help": help})


@dataclass(frozen=True)
class MmadaOptions(Options):
    """Defaults are the published demo's; guidance scales count from 1, one more than the published ones.

    ``temperature`` 0 takes the likeliest code of every slot; above it codes are drawn as they are and the temperature only
    scales the noise that decides which slots wait (fact sheet mmada, section 9).
    """

    temperature: float = option(1.0, 0.0, 2.0, "0 always takes the likeliest code; higher settles them in a bolder order.")
    guidance: float = option(4.5, 1.0, 20.0, "How strongly the words steer the picture; 1 is off.")
    top_k: int = option(0, 0, 65536, "Keep only the k likeliest codes; 0 keeps all.")
    image_steps: int = option(15, 1, 100, "Steps to a picture.")
    schedule: str = choice("cosine", schedule.SCHEDULES, "How fast slots are settled.")
    image_cache: str = choice("none", unmask.CACHES, "What a picture's steps keep of the first: nothing, the words, or settled slots too.")
    refresh: int = option(0, 0, 100, "Compute everything anew every so many steps of a cached picture; 0 is never.")
    preview_every: int = option(1, 0, 100, "Show every so many steps of a picture; 0 shows the result only.")
    mask_pads: bool = field(default=True, metadata={"help": "Hide padding from the picture; off as the first releases were trained."})
    text_steps: int = option(0, 0, 4096, "Steps to a text; 0 settles two tokens a step.")
    block: int = option(32, 1, 1024, "Tokens that are filled together.")
    text_guidance: float = option(1.0, 1.0, 3.0, "How strongly the question steers the text; 1 is off.")
    remasking: str = choice("low_confidence", text.REMASKINGS, "Which candidates wait: the least sure, or any.")
    text_cache: str = choice("none", text.CACHES, "What a block keeps of its first step: nothing, what is before it, or all around it.")
    threshold: float = option(0.0, 0.0, 1.0, "Settle every token at least so probable in one step; 0 is off.")
    factor: float = option(0.0, 0.0, 100.0, "Settle as many tokens a step as their probabilities allow; 0 is off.")
    thinking: bool = field(default=False, metadata={"help": "Answer with a thought in think tags first."})
    fit: str = choice("crop", tuple(FITS), "How a picture to look at is made square.")
    strength: float = option(0.5, 0.0, 1.0, "Share of a picture to draw anew where no region is named: what the words support least.")
    mask_left: float = option(0.0, 0.0, 1.0, "Left side of the region to draw anew, as a share of the width.")
    mask_top: float = option(0.0, 0.0, 1.0, "Upper side of it, as a share of the height.")
    mask_right: float = option(1.0, 0.0, 1.0, "Right side of it.")
    mask_bottom: float = option(1.0, 0.0, 1.0, "Lower side of it.")
    extend_left: float = option(0.0, 0.0, 4.0, "Draw on to the left by this share of the width.")
    extend_top: float = option(0.0, 0.0, 4.0, "Draw on upwards by this share of the height.")
    extend_right: float = option(0.0, 0.0, 4.0, "Draw on to the right.")
    extend_bottom: float = option(0.0, 0.0, 4.0, "Draw on downwards.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for row in fields(self):
            value, choices = getattr(self, row.name), row.metadata.get("choices")
            if choices and value not in choices:
                raise BadInput(f"{row.name} must be one of {', '.join(choices)}, not {str(value)[:40]!r}.")
        if self.mask_left >= self.mask_right or self.mask_top >= self.mask_bottom:
            raise BadInput("The region to draw anew is empty: mask_left must be below mask_right, mask_top below mask_bottom.")
        if self.threshold and self.factor:
            raise BadInput("Give a threshold or a factor, not both.")

    @property
    def region(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of what to draw anew, as shares of the picture."""
        return self.mask_left, self.mask_top, self.mask_right, self.mask_bottom

    @property
    def extend(self) -> tuple[float, float, float, float]:
        """How far to draw on at left, top, right, bottom, as shares of the picture."""
        return self.extend_left, self.extend_top, self.extend_right, self.extend_bottom

    @classmethod
    def from_options(cls, options: Options) -> MmadaOptions:
        """These very options, or the shared ones with this family's defaults for what they leave unset (guidance, top-k)."""
        if isinstance(options, cls):
            return options
        shared = {row.name: getattr(options, row.name) for row in fields(Options)}
        unset = [name for name in ("guidance", "top_k") if shared[name] == getattr(Options, name)]
        return cls(**{name: value for name, value in shared.items() if name not in unset})

    def writing(self, room: int, barred: Any = None) -> text.WritePlan:
        """The plan of a text in at most ``room`` columns: its length is rounded up to whole blocks, its steps to whole ones a block."""
        most = min(self.max_tokens, room)
        block = min(self.block, most)
        blocks = min(-(-most // block), room // block)
        steps = self.text_steps or max(1, blocks * block // 2)
        each = min(block, max(1, round(steps / blocks)))
        return text.WritePlan(
            blocks * block, block, each * blocks, self.text_temperature, self.text_guidance, self.remasking, self.threshold or None,
            self.factor or None, self.text_cache, within_block=True, barred=barred,
        )  # fmt: skip

    def drawing(self, scale: int | None) -> unmask.DrawPlan:
        """The plan of a picture; ``scale`` as in ``DrawPlan``."""
        return unmask.DrawPlan(
            self.image_steps, self.guidance, self.temperature, self.temperature <= 0, self.schedule, scale, self.top_k, self.top_p,
            self.image_cache, self.refresh,
        )  # fmt: skip
