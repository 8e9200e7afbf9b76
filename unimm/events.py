"""What a model says while it works; every event is immutable and complete in itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unimm.document import Image, Part


@dataclass(frozen=True)
class TextDelta:
    """A few more characters of the text being written."""

    text: str


@dataclass(frozen=True)
class LatentStep:
    """One latent of the implicit reasoning: the base's hidden state at one position of its thought.

    ``words`` are the nearest vocabulary entries with their probabilities, ``norm`` the length of the
    hidden state, ``heat`` how strongly it looks at each cell of the pictures before it (row-major
    over ``grid`` = (rows, columns) of the last picture; sums to at most 1).
    """

    index: int
    token: str
    words: tuple[tuple[str, float], ...]
    norm: float
    heat: tuple[float, ...] = ()
    grid: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ImagePreview:
    """The picture as far as it is drawn: ``done`` of ``total`` tokens are settled, or tokens and steps of a decoder after them."""

    image: Image
    done: int
    total: int


@dataclass(frozen=True)
class PartDone:
    """A finished text or picture.

    ``stats`` holds measured facts: ``seconds``, ``tokens``, ``passes`` (forward passes), for a picture
    ``changed`` (tokens that differ from the source's) and ``refined`` (steps of the decoder), for a text ``confidence``
    (probability of its first token among the alternatives), ``chances`` (those of all) and, from models that can say it, ``doubts``
    (how likely each cell of the last picture is to be wrong, row by row over a square grid).
    """

    part: Part
    stats: Mapping[str, float] = field(default_factory=dict)


ModelEvent = TextDelta | LatentStep | ImagePreview | PartDone
