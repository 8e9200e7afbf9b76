"""How BAGEL samples: the released settings and their bounds (fact sheet: bagel, section 10)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from unimm.bagel.flow import RENORMS, Guidance, Renorm
from unimm.errors import BadInput
from unimm.model import Options, option


@dataclass(frozen=True)
class BagelOptions(Options):
    """``Options`` and what BAGEL has beyond them; the defaults are the released ones for a picture from words.

    ``guidance`` is the text guidance. ``top_k`` and ``top_p`` are off, as released.
    """

    guidance: float = option(4.0, 1.0, 20.0, "How strongly the words steer the picture; 1 is off.")
    image_guidance: float = option(1.5, 1.0, 10.0, "How strongly the pictures that were given steer it; 1 is off.")
    guidance_from: float = option(0.4, 0.0, 1.0, "Guidance is on while the picture's noise is above this.")
    guidance_to: float = option(1.0, 0.0, 1.0, "Guidance is on up to this much noise.")
    renorm: Renorm = field(default="global", metadata={"choices": RENORMS, "help": "Over what a guided step is scaled back."})
    renorm_min: float = option(0.0, 0.0, 1.0, "The smallest factor of that scaling; 1 turns it off.")
    timesteps: int = option(50, 2, 1000, "Points of the schedule; one step fewer is taken.")
    timestep_shift: float = option(3.0, 0.1, 20.0, "Above 1 more of the steps are spent on the coarse picture.")
    width: int = option(0, 0, 8192, "Pixels of a picture from words alone; 0 is the largest. A given picture keeps its size.")
    height: int = option(0, 0, 8192, "The same for the height.")
    previews: int = option(8, 0, 1000, "How often the unfinished picture is decoded.")
    step_cache: bool = field(default=False, metadata={"help": "Predict most later steps from earlier ones: faster, not quite the same."})
    reason: bool = field(default=False, metadata={"help": "Think in words before answering a question."})
    top_k: int = option(0, 0, 200_000, "Keep only the k likeliest words; 0 keeps all.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.renorm not in RENORMS:
            raise BadInput(f"There is no renorm {str(self.renorm)[:40]!r}. Take one of: {', '.join(RENORMS)}.")

    @property
    def sampler(self) -> Guidance:
        """The guidance of the sampler."""
        interval = (self.guidance_from, self.guidance_to)
        return Guidance(self.guidance, self.image_guidance, interval, self.renorm, self.renorm_min)


DRAWING = BagelOptions()
EDITING = BagelOptions(image_guidance=2.0, guidance_from=0.0, renorm="text_channel")
"""The released settings for a picture made after other pictures."""


def from_options(options: Options, pictures: bool) -> BagelOptions:
    """BAGEL's own options as they are; of plain ones every field that was set, and the released settings for the rest."""
    if isinstance(options, BagelOptions):
        return options
    released, plain = EDITING if pictures else DRAWING, Options()
    given = {row.name: getattr(options, row.name) for row in fields(Options)}
    kept = {name: value for name, value in given.items() if value != getattr(plain, name)}
    rest = {row.name: getattr(released, row.name) for row in fields(BagelOptions)}
    return BagelOptions(**{**rest, **kept})
