"""How a run of the agent goes, as one record: pages, flags and schemas are made from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from unimm.errors import BadInput
from unimm.model import Options, UnifiedModel, check_bounds, option, options_type

Steer = Literal["model", "program", "both"]
Thoughts = Literal["latent", "words", "none"]
CHOICES: dict[str, tuple[str, ...]] = {"steer": get_args(Steer), "thoughts": get_args(Thoughts)}


@dataclass(frozen=True)
class Settings:
    """How a run goes; bounds and help for pages and flags stand in the fields' metadata."""

    steer: Steer = field(default="model", metadata={"choices": CHOICES["steer"], "help": "Whose verdict decides."})
    rounds: int = option(10, 0, 20, "At most so many redraws of one picture.")
    patience: int = option(10, 1, 20, "Stop redrawing a picture after so many redraws that were no better.")
    seconds: float = option(60.0, 0.0, 3600.0, "Stop the run after so many seconds.")
    temperature: float = option(
        0.0, 0.0, 2.0, "Of first drawings: 0 always takes the likeliest token (a published model: as released); higher is bolder."
    )
    boldness: float = option(0.5, 0.0, 2.0, "How much warmer the second and third redraws of a picture are; later ones twice that.")
    guidance: float = option(1.0, 1.0, 20.0, "How strongly the words steer the picture; 1 is off (a published model: as released).")
    seed: int = option(0, 0, 2**31 - 1, "Same seed, same run.")
    critique: bool = field(default=True, metadata={"help": "Judge every picture; off keeps the first drawing of each."})
    go_on: bool = field(default=True, metadata={"help": "Where no redraw convinced the model, go on from the best picture."})
    max_frames: int = option(80, 1, 400, "At most so many pictures.")
    best_of: int = option(1, 1, 8, "Draw so many first drafts of every picture and keep the one that is judged best.")
    thoughts: Thoughts = field(default="latent", metadata={
        "choices": CHOICES["thoughts"],
        "help": "What a picture is drawn from: the thought as it was thought, its words read anew, or no thought at all.",
    })  # fmt: skip

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise BadInput(f"{name} must be one of {', '.join(known)}, not {str(getattr(self, name))[:40]!r}.")
        check_bounds(self)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """Inverse of ``to_dict``; raises ``BadInput`` on unknown names and values out of bounds."""
        unknown = set(data) - {row.name for row in fields(cls)}
        if unknown:
            raise BadInput(f"There is no setting {sorted(map(str, unknown))[0][:40]!r}.")
        return cls(**data)


WARMER = 2
"""How often a redraw of one picture becomes warmer."""


def derive_seed(seed: int, frame: int, round: int) -> int:
    """The seed of one drawing: depends on nothing but its place, so runs agree however they are interleaved."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{frame}/{round}".encode()).digest()[:4], "big") >> 1


def options_for(model: UnifiedModel, settings: Settings, frame: int, round: int) -> Options:
    """How a model draws a picture of a run: what the settings say, and the model's own defaults for what they leave unset.

    What puts a drawing right is done with care: the first redraw is no warmer than the model draws by itself, however bold the first
    drawing was; later ones are warmer, at first by the settings' boldness and then by twice that, or they might be the same again. Warmer
    still, what is to stay the same comes out wrong. A negative ``round`` is a
    further first draft: as warm as the first one, and as warm as boldness where that one always takes the likeliest token.
    """
    own = options_type(model)()
    first = settings.temperature or own.temperature or (settings.boldness if round < 0 else 0.0)
    warmth = min(first, own.temperature) + settings.boldness * min(round // 2, WARMER) if round > 0 else first
    return replace(
        own, seed=derive_seed(settings.seed, frame, round), temperature=min(warmth, 2.0),
        guidance=own.guidance if settings.guidance == 1 else settings.guidance,
    )
