"""What makes BAGEL's drawing fast, against the obvious way: random weights at a middle size, both ways in one process.

Packing the branches reads every weight once a step instead of three times, so it gains most where reading is what takes the
time: on small pictures, and for the two marks around a picture, whose expert is read for two rows. The larger the picture,
the more the products themselves take, which nothing saves; the race at 64 tokens shows how much is left there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from unimm.bagel.config import AutoencoderSize, BagelConfig, LanguageSize, VisionSize, with_tables
from unimm.bagel.context import Context
from unimm.bagel.denoise import Denoiser
from unimm.bagel.flow import MAIN, NO_IMAGE, NO_TEXT, Guidance, branches, combine, integrate, schedule
from unimm.bagel.model import Bagel, Marks
from unimm.bagel.pictures import Grid
from unimm.errors import BadInput
from unimm.timing import Mismatch, Race, race

GRIDS: dict[str, Grid] = {"guided step": (4, 4), "larger picture": (8, 8)}
"""Latent tokens of the pictures that are drawn: 8 x 8 latents (64 x 64 pixels), and 16 x 16 (128 x 128)."""
PROMPT = 16
STEPS = 2
POINTS = 21
SHIFT = 3.0
TOLERANCE = 1e-3
"""Allowed difference of two fp32 sums in another order, as a share of the largest number."""
MARKS = Marks(0, 1, 2, 3)

SIZES: dict[str, LanguageSize] = {
    "small": LanguageSize(128, 512, 3, 4, 2, 256),
    "middle": LanguageSize(1024, 4096, 6, 16, 4, 1024),
}
"""Decoders of the races. The middle one has 200 million parameters, so its weights are far beyond any cache."""


@dataclass(frozen=True)
class Scene:
    """A model and the contexts of one request, and the picture to draw."""

    bagel: Bagel
    grid: Grid
    contexts: Mapping[str, Context]
    noise: Tensor


def random_bagel(size: str, seed: int = 0) -> Bagel:
    """A BAGEL with random weights; raises ``BadInput`` for a size that is not in ``SIZES``."""
    if size not in SIZES:
        raise BadInput(f"There is no size {size!r}. Take one of: {', '.join(SIZES)}.")
    vision = VisionSize(64, 128, 1, 2)
    config = with_tables(BagelConfig(SIZES[size], vision, AutoencoderSize(ch=32, num_res_blocks=1)), max(map(max, GRIDS.values())), 10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bagel = Bagel(config).eval().requires_grad_(False)
        for table in (bagel.latent_pos_embed, bagel.vit_pos_embed):
            table.pos_embed.normal_(0, 0.1)
    return bagel


def scene(bagel: Bagel, grid: Grid, pictures: bool) -> Scene:
    """A prompt of ``PROMPT`` tokens, after a picture (latents and patches) or alone."""
    generator = torch.Generator().manual_seed(1)
    config, patch = bagel.config, bagel.config.vision.patch_size
    words = torch.randint(4, config.language.vocab_size, (PROMPT,), generator=generator).tolist()
    with torch.inference_mode():
        seen = Context()
        if pictures:
            latents = torch.randn(grid[0] * grid[1], config.latent_width, generator=generator)
            seen, _ = bagel.read_latents(seen, latents, grid, MARKS, "latents")
            patches = torch.randn(100, 3 * patch * patch, generator=generator)
            seen, _ = bagel.read_patches(seen, patches, (10, 10), MARKS, "patches")
        main, _ = bagel.read_words(seen, words, f"{seen.key} words")
        bare, _ = bagel.read_words(Context(), words, " words")
    noise = torch.randn(grid[0] * grid[1], config.latent_width, generator=generator)
    return Scene(bagel, grid, {MAIN: main, NO_TEXT: seen, NO_IMAGE: bare}, noise)


def obvious(given: Scene, guidance: Guidance, steps: int) -> Tensor:
    """The first ``steps`` guided steps as they are usually written.

    Every branch has its own deep copy of its context, is a pass of its own, and joins its cached keys and values with the
    new ones on every step. Returns x [n, channels].
    """
    contexts = copy.deepcopy(dict(given.contexts))
    x, (times, sizes) = given.noise, schedule(POINTS, SHIFT)
    with torch.inference_mode():
        for t, size in zip(times[:steps].tolist(), sizes[:steps].tolist(), strict=True):
            text, image = guidance.at(t)
            velocities = {}
            for name in branches(text, image):
                alone = Denoiser(given.bagel, {name: contexts[name]}, given.grid, MARKS)
                velocities |= alone.velocities(alone.hidden(x, t, [name]))
            x = x - size * combine(velocities, guidance, text, image)
    return x


def packed(given: Scene, guidance: Guidance, steps: int) -> Tensor:
    """The same steps in the way the model takes them."""
    with torch.inference_mode():
        denoiser = Denoiser(given.bagel, given.contexts, given.grid, MARKS)
    for step in integrate(denoiser, given.noise, guidance, POINTS, SHIFT):
        if step.index + 1 == steps:
            return step.x
    raise BadInput(f"A schedule of {POINTS} points has fewer than {steps} steps.")


def whole(given: Scene, guidance: Guidance, cache: bool) -> Tensor:
    """A whole picture's latents, with the step cache or without."""
    with torch.inference_mode():
        denoiser = Denoiser(given.bagel, given.contexts, given.grid, MARKS)
    return [step.x for step in integrate(denoiser, given.noise, guidance, POINTS, SHIFT, cache)][-1]


def equal(slow: Tensor, fast: Tensor) -> str:
    """The contract of two ways to the same numbers; raises ``Mismatch`` where they differ by more than rounding."""
    share = ((slow - fast).abs().max() / slow.abs().max()).item()
    if not share <= TOLERANCE:
        raise Mismatch(f"the two ways differ by {share:.1e} of the largest number, more than {TOLERANCE:.0e}")
    return f"equal up to rounding ({share:.0e} of the largest number)"


def measured(slow: Tensor, fast: Tensor) -> str:
    """The contract of an approximation: how far it is off."""
    if not torch.isfinite(fast).all():
        raise Mismatch("the approximation is not finite")
    return f"differs by {((slow - fast).norm() / slow.norm()).item():.1%} (relative L2 of the final latents, random weights)"


def races(repeat: int = 3, size: str = "middle") -> Iterator[Race]:
    """Guided steps of an edit, of a picture from words and of a larger edit, and the step cache; raises ``BadInput``."""
    bagel, row, name = random_bagel(size), SIZES[size], f"bagel {size}"
    sizes = f"{row.num_hidden_layers} x {row.hidden_size}/{row.intermediate_size}"
    edit, words = Guidance(4.0, 2.0, (0.0, 1.0), "text_channel"), Guidance(4.0, 1.5, (0.4, 1.0), "global")
    kinds = [("guided step", "edit", edit), ("guided step", "words", words), ("larger picture", "edit", edit)]
    for race_name, kind, guidance in kinds:
        given = scene(bagel, GRIDS[race_name], kind == "edit")
        yield race(
            name, f"{race_name}, {kind} ({sizes}, {len(given.noise)} tokens)",
            ("three passes, copied contexts", partial(obvious, given, guidance, STEPS)),
            ("packed branches", partial(packed, given, guidance, STEPS)), equal, repeat,
        )  # fmt: skip
    given = scene(bagel, GRIDS["guided step"], pictures=True)
    yield race(
        name, f"step cache, edit ({POINTS - 1} steps, {len(given.noise)} tokens)",
        ("every step computed", partial(whole, given, edit, False)), ("most steps predicted", partial(whole, given, edit, True)),
        measured, repeat,
    )  # fmt: skip
