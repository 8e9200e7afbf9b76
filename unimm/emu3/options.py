"""How Emu3 samples: the published defaults, and what a visitor may change."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from unimm.emu3.grammar import RATIOS, drawn_grid
from unimm.errors import BadInput
from unimm.model import Options, option

GUIDANCE = 3.0
POSITIVE = " masterpiece, film grained, best quality."
NEGATIVE = "lowres, bad anatomy, extra fingers, cropped, low quality, compression artifacts, text, watermark, username, blurry"
LONGEST_TAIL = 2000


@dataclass(frozen=True)
class Emu3Options(Options):
    """Fields mean what they say: guidance 1 draws without a second branch (fact sheet: janus_pro_emu3, section 2.4)."""

    temperature: float = option(1.0, 0.0, 2.0, "0 always takes the likeliest picture code; higher is bolder.")
    guidance: float = option(GUIDANCE, 1.0, 20.0, "How strongly the words steer the picture; 1 is off.")
    top_k: int = option(2048, 0, 65536, "Keep only the k likeliest tokens; 0 keeps all.")
    max_tokens: int = option(1024, 1, 4096, "The longest text to write.")
    ratio: str = field(default="1:1", metadata={"choices": RATIOS, "help": "Width to height of the picture."})
    area: int = option(0, 0, 1024 * 1024, "Pixels of the picture, about; 0 is what the model was trained to draw.")
    previews: int = option(8, 0, 64, "How many partial pictures to show while drawing.")
    pictures: int = option(2, 1, 8, "How many of the latest pictures Chat looks at; each takes thousands of tokens.")
    positive: str = field(default=POSITIVE, metadata={"help": "Words put behind every prompt for a picture."})
    negative: str = field(default=NEGATIVE, metadata={"help": "What the picture should not be."})

    def __post_init__(self) -> None:
        super().__post_init__()
        drawn_grid(self.ratio, 1, 1)
        if max(len(self.positive), len(self.negative)) > LONGEST_TAIL:
            raise BadInput(f"The standing words for pictures are too long. Keep each under {LONGEST_TAIL:,} characters.")


def from_options(options: Options) -> Emu3Options:
    """The family's options: as they are, or made of plain ones, whose guidance 1 means that nobody set it."""
    if isinstance(options, Emu3Options):
        return options
    shared = {row.name: getattr(options, row.name) for row in fields(Options)}
    return Emu3Options(**shared | {"guidance": GUIDANCE if options.guidance == 1 else options.guidance})
