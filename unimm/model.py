"""The one interface every unified model has, and the table of the models there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol, runtime_checkable

from unimm.document import Document, Image, Part, Text
from unimm.errors import BadInput
from unimm.events import ModelEvent, PartDone

Want = Literal["text", "image"]


@dataclass(frozen=True)
class Capabilities:
    """What a model can do, as data: the page, the agent and the tests read it."""

    understand: bool
    generate: bool
    edit: bool
    interleave: bool
    latents: bool
    image_sizes: tuple[int, ...]
    licence: str
    weights: str
    memory_gb: dict[str, float] = field(default_factory=dict)
    taught: tuple[str, ...] = ()
    """Tasks whose own short words the model was trained on; it is asked about all others in plain language."""
    plain: bool = True
    """Whether it understands plain language at all; a model that knows the words of its lessons only does ``taught`` tasks, no others."""
    calibration: Mapping[str, float] = field(default_factory=dict)
    """Task -> temperature that turns the probability of a verdict into how often such verdicts are right; 1 where it is absent."""


def can_do(can: Capabilities, task: str) -> bool:
    """Whether a model of these capabilities can be asked about a task."""
    return can.plain or task in can.taught


def option(default: Any, low: float, high: float, help: str) -> Any:
    """A bounded dataclass field; pages, flags and schemas are made from its metadata."""
    return field(default=default, metadata={"low": low, "high": high, "help": help})


def check_bounds(record: Any) -> None:
    """Raise ``BadInput`` for a field of a dataclass that is out of the bounds in its metadata, or no number of its kind."""
    for row in fields(record):
        value, meta = getattr(record, row.name), row.metadata
        if "low" in meta:
            number = isinstance(value, (int, float) if isinstance(row.default, float) else int) and not isinstance(value, bool)
            if not number or not meta["low"] <= value <= meta["high"]:
                raise BadInput(f"{row.name} must lie between {meta['low']} and {meta['high']}, not {str(value)[:40]!r}.")


@dataclass(frozen=True)
class Options:
    """How to sample. Shared by all models; a model's own dataclass may add fields."""

    seed: int = option(0, 0, 2**31 - 1, "Same seed, same result.")
    temperature: float = option(0.0, 0.0, 2.0, "0 always takes the likeliest token; higher is bolder.")
    text_temperature: float = option(0.0, 0.0, 2.0, "The same for words.")
    guidance: float = option(1.0, 1.0, 20.0, "How strongly the words steer the picture; 1 is off.")
    top_k: int = option(1000, 0, 65536, "Keep only the k likeliest tokens; 0 keeps all.")
    top_p: float = option(1.0, 0.01, 1.0, "Keep the likeliest tokens up to this probability.")
    max_tokens: int = option(320, 1, 4096, "The longest text to write.")
    think: bool = field(default=True, metadata={"help": "Write a thought first and draw from its latents."})
    speculative: bool = field(default=True, metadata={"help": "Check the source's tokens in runs instead of one by one."})

    def __post_init__(self) -> None:
        check_bounds(self)


def options_type(model: Any) -> type[Options]:
    """The options class in which a model's own defaults stand: its ``options_type`` if it has one, else ``Options``."""
    return getattr(model, "options_type", Options)


@runtime_checkable
class UnifiedModel(Protocol):
    """Anything that reads and writes documents of text and pictures.

    ``stream`` is stateless: the whole document goes in, events come out, closing the iterator stops the
    work at the next token. ``want="text"`` writes one text. ``want="image"`` draws one picture as the
    next part of the document; where the document's last turn is the user's and ``options.think`` is set,
    the model first writes its thought in place (``TextDelta``, ``LatentStep``, ``PartDone`` of a text)
    and may end there, when the thought says that nothing is left to draw. Where the last turn is the
    assistant's text, that text is the thought.
    """

    name: str
    capabilities: Capabilities

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]: ...


def finished_parts(events: Iterator[ModelEvent]) -> tuple[Part, ...]:
    """Fold a stream to the parts that it finished."""
    return tuple(event.part for event in events if isinstance(event, PartDone))


def write(model: UnifiedModel, document: Document, options: Options = Options()) -> str:
    """The text a model answers with."""
    return "".join(part.text for part in finished_parts(model.stream(document, "text", options)) if isinstance(part, Text))


def draw(model: UnifiedModel, document: Document, options: Options = Options()) -> Image | None:
    """The picture a model draws next, or None where its thought says that nothing is left to draw."""
    pictures = [part for part in finished_parts(model.stream(document, "image", options)) if isinstance(part, Image)]
    return pictures[-1] if pictures else None
