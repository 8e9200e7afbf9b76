"""The rectified-flow sampler: schedule, guidance and Euler steps (fact sheet: bagel, section 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unimm.bagel.denoise import Denoiser
from unimm.bagel.taylor import StepCache
from unimm.errors import BadInput

Renorm = Literal["global", "channel", "text_channel"]
RENORMS: tuple[Renorm, ...] = ("global", "channel", "text_channel")

MAIN, NO_TEXT, NO_IMAGE = "main", "no_text", "no_image"
"""Names of the three branches: the whole context, without the last words, without the pictures."""


def schedule(points: int, shift: float) -> tuple[Tensor, Tensor]:
    """Times and step sizes of the ``points - 1`` Euler steps, from 1 down; the last time is not 0."""
    u = torch.linspace(1, 0, points)
    t = shift * u / (1 + (shift - 1) * u)
    return t[:-1], t[:-1] - t[1:]


@dataclass(frozen=True)
class Guidance:
    """How far the velocity is pushed away from the branches that lack something.

    ``interval`` (low, high] holds the shifted times at which guidance is on; ``renorm_min`` is the smallest factor by
    which a guided velocity is scaled back to the unguided one's length (1 turns that off).
    """

    text: float = 4.0
    image: float = 1.5
    interval: tuple[float, float] = (0.4, 1.0)
    renorm: Renorm = "global"
    renorm_min: float = 0.0

    def __post_init__(self) -> None:
        if self.renorm not in RENORMS:
            raise BadInput(f"There is no renorm {str(self.renorm)[:40]!r}. Take one of: {', '.join(RENORMS)}.")

    def at(self, t: float) -> tuple[float, float]:
        """The text and the image scale at a time."""
        low, high = self.interval
        return (self.text, self.image) if low < t <= high else (1.0, 1.0)


def branches(text: float, image: float) -> tuple[str, ...]:
    """The branches whose velocities count: without text guidance only the whole context does."""
    if text <= 1:
        return (MAIN,)
    return (MAIN, NO_TEXT, NO_IMAGE) if image > 1 else (MAIN, NO_TEXT)


def combine(velocity: Mapping[str, Tensor], guidance: Guidance, text: float, image: float) -> Tensor:
    """Mix the branches' velocities [n, channels] at the given scales and scale the result back."""
    main = velocity[MAIN]
    if text <= 1:
        return main
    mixed = velocity[NO_TEXT] + text * (main - velocity[NO_TEXT])
    if guidance.renorm == "text_channel":
        mixed = mixed * _shrink(main, mixed, guidance)
    if image > 1:
        mixed = velocity[NO_IMAGE] + image * (mixed - velocity[NO_IMAGE])
    return mixed if guidance.renorm == "text_channel" else mixed * _shrink(main, mixed, guidance)


def _shrink(main: Tensor, mixed: Tensor, guidance: Guidance) -> Tensor:
    """The factor that takes ``mixed`` back to the length of ``main``, over everything or a token; never above 1."""
    axes = (-2, -1) if guidance.renorm == "global" else (-1,)
    lengths = (torch.linalg.vector_norm(v, dim=axes, keepdim=True) for v in (main, mixed))
    wanted, got = lengths
    return (wanted / (got + 1e-8)).clamp(guidance.renorm_min, 1.0)


@dataclass(frozen=True)
class Step:
    """One Euler step: its time and size, each branch's velocity, the mixed one, and where it led, all [n, channels].

    ``clean`` is the picture that the step's velocity points at; ``passes`` counts the contexts that the decoder ran with.
    """

    index: int
    total: int
    t: float
    scales: tuple[float, float]
    velocities: Mapping[str, Tensor]
    velocity: Tensor
    x: Tensor
    clean: Tensor
    passes: int


def integrate(denoiser: Denoiser, noise: Tensor, guidance: Guidance, points: int, shift: float, cache: bool = False) -> Iterator[Step]:
    """From noise [n, channels] at time 1 to a picture at time 0, a ``Step`` at a time. ``x`` stays in fp32.

    ``cache`` predicts most later steps from earlier ones instead of computing them (``taylor``).
    """
    times, sizes = schedule(points, shift)
    x, caches = noise.float().to(denoiser.device), {name: StepCache() for name in (MAIN, NO_TEXT, NO_IMAGE)} if cache else {}
    for index, (t, size) in enumerate(zip(times.tolist(), sizes.tolist(), strict=True)):
        text, image = guidance.at(t)
        with torch.inference_mode():
            hidden, passes = _hidden(denoiser, x, t, branches(text, image), caches)
            velocities = denoiser.velocities(hidden)
            mixed = combine(velocities, guidance, text, image)
            clean, x = x - t * mixed, x - size * mixed
        yield Step(index, len(times), t, (text, image), velocities, mixed, x, clean, passes)


def _hidden(
    denoiser: Denoiser, x: Tensor, t: float, names: tuple[str, ...], caches: Mapping[str, StepCache]
) -> tuple[dict[str, Tensor], int]:
    """Last rows of every branch, computed in one pass or predicted, and how many contexts were computed."""
    due = tuple(name for name in names if not caches or caches[name].due())
    computed = denoiser.hidden(x, t, due) if due else {}
    if not caches:
        return computed, denoiser.different(due)
    hidden = {name: caches[name].keep(computed[name]) if name in computed else caches[name].predict() for name in names}
    return hidden, denoiser.different(due)
