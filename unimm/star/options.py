"""How a STAR samples: the shared options (a released one with its published defaults), and its own."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from unimm.errors import BadInput
from unimm.model import Options, option

GUIDANCE = 1.1
"""The published strength of guidance (fact sheet: star, section 5)."""


def choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    """A dataclass field of one word out of a few, with the metadata that pages and flags are made from."""
    return field(default=default, metadata={"choices": choices, "help": help})


REFINING = 4
"""Steps of the embedded model's decoder; more change little."""


@dataclass(frozen=True)
class TinyOptions(Options):
    """Options of the embedded model."""

    refine: int = option(REFINING, 0, 32, "Steps in which the drawn picture is sharpened; 0 shows the VQ's own pixels.")

    @classmethod
    def from_options(cls, options: Options) -> TinyOptions:
        """The shared options with the embedded model's own at its default."""
        return options if isinstance(options, cls) else cls(**{row.name: getattr(options, row.name) for row in fields(Options)})


@dataclass(frozen=True)
class StarOptions(Options):
    """Options of STAR-3B and STAR-7B. Fields mean what they say: a guidance of 1 is none."""

    temperature: float = option(1.0, 0.0, 2.0, "0 always takes the likeliest token; higher is bolder.")
    guidance: float = option(GUIDANCE, 1.0, 20.0, "How strongly the words steer the picture's tokens; 1 is off.")
    top_p: float = option(0.8, 0.01, 1.0, "Keep the likeliest tokens up to this probability.")
    max_tokens: int = option(256, 1, 4096, "The longest text to write.")
    reasoning: str = choice("latent", ("latent", "rewrite"), "latent: draw from the thought's hidden states. rewrite: its words replace "
                            "the prompt, as released.")  # fmt: skip
    decoder: str = choice("vq", ("vq", "diffusion"), "What makes the picture of the tokens; diffusion is larger, finer and slower.")
    repetition_penalty: float = option(1.05, 1.0, 2.0, "Above 1, words already used become less likely.")
    diffusion_steps: int = option(0, 0, 200, "Steps of the diffusion decoder; 0 takes the published 40, or 50 for an edit.")
    text_guidance: float = option(0.0, 0.0, 20.0, "How strongly words steer the diffusion decoder; 0 takes the published value.")
    image_guidance: float = option(0.0, 0.0, 20.0, "How strongly tokens or the source steer it; 0 takes the published value.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for row in fields(self):
            choices = row.metadata.get("choices")
            if choices and getattr(self, row.name) not in choices:
                raise BadInput(f"{row.name} must be one of {', '.join(choices)}, not {str(getattr(self, row.name))[:40]!r}.")

    @classmethod
    def from_options(cls, options: Options) -> StarOptions:
        """The shared options with STAR's own at their defaults; a guidance left at 1 becomes the published one."""
        if isinstance(options, cls):
            return options
        shared = {row.name: getattr(options, row.name) for row in fields(Options)}
        return cls(**{**shared, "guidance": GUIDANCE if options.guidance == 1 else options.guidance})
