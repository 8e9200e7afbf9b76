"""STAR's ways of drawing against the obvious ones: random weights at a middle size, and steps of a recorded run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unimm.document import Document, Image
from unimm.errors import BadInput
from unimm.model import Options
from unimm.star.config import RELEASED_VQ, StarConfig, qwen
from unimm.star.generate import StarModel
from unimm.star.line_canvas import LineCanvas
from unimm.star.model import Star
from unimm.star.reading import Reading
from unimm.star.recorded import Edit
from unimm.star.released import Caches, base_states, line, stack_states
from unimm.timing import Mismatch, Race, race


@dataclass(frozen=True)
class Size:
    """A STAR of random weights and the picture it draws: decoder widths, layers of base and stack, side in tokens."""

    hidden: int
    inner: int
    layers: int
    stack: int
    heads: int
    side: int


SIZES = {"small": Size(64, 128, 2, 1, 4, 4), "middle": Size(768, 2048, 6, 3, 12, 12)}
PROMPT = 24
"""Words of the instruction."""
CHANGED = 0.1
"""Share of the source's tokens that an edit changes."""
WEIGHT = 1.1
"""The published guidance."""


def random_star(row: Size, seed: int = 0) -> Star:
    """A STAR in the released layout with random weights; its vision tower and VQ are small, for nothing here runs them."""
    base = qwen(row.hidden, row.inner, row.layers, row.heads, max(row.heads // 4, 1), 1024, True, depth=1, hidden_size=64,
                intermediate_size=64, num_heads=2, fullatt_block_indexes=[0])  # fmt: skip
    third = row.hidden // row.heads // 8
    base["text_config"]["rope_parameters"]["mrope_section"] = [row.hidden // row.heads // 2 - 2 * third, third, third]
    base["text_config"] |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    vq = replace(RELEASED_VQ, ch=32, encoder_ch_mult=(1,) * 5, decoder_ch_mult=(1,) * 5, num_res_blocks=1, z_channels=32,
                 codebook_size=4096, codebook_dim=32, attn_heads=1)  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        star = Star(StarConfig("star", base, vq, row.stack, 2, picture=16 * row.side)).eval().requires_grad_(False)
        for part in (star.base, star.stack):
            part.set_attn_implementation("sdpa")
        return star


@dataclass(frozen=True)
class Scene:
    """A row that ends where a picture opens, its twin without words, the source's tokens, and those of the edited picture."""

    star: Star
    rows: tuple[Tensor, Tensor]
    source: Tensor
    target: Tensor

    def readings(self) -> list[Reading]:
        """What the base has read of both rows; a canvas copies it."""
        return [Reading(self.star, row, line(0, row.shape[1]), 0) for row in self.rows]


def scene(star: Star, side: int) -> Scene:
    """Source tokens, then words; every tenth token or so of the picture is another one than the source's."""
    generator = torch.Generator().manual_seed(1)
    codes = star.config.vq.codebook_size
    source = torch.randint(codes, (side * side,), generator=generator)
    changed = torch.randperm(len(source), generator=generator)[: max(1, round(CHANGED * len(source)))]
    target = source.clone()
    target[changed] = (source[changed] + 1) % codes
    with torch.inference_mode():
        seen = star.drawn(source)[None]
        words = [star.words(torch.randint(1024, (1, PROMPT), generator=generator)) for _ in range(2)]
    return Scene(star, (torch.cat([seen, words[0]], 1), torch.cat([seen, words[1]], 1)), source, target)


class Planted(LineCanvas):
    """A canvas of random weights whose likeliest tokens are a given picture's: all its passes are run, and then overruled."""

    target: Tensor

    def _guide(self, logits: Tensor, weight: float) -> Tensor:
        wanted = self.target[self._done : self._done + logits.shape[1]]
        return super()._guide(logits, weight).scatter(1, wanted[:, None], 1e6)


def edited(given: Scene, readings: Sequence[Reading], speculative: bool) -> Tensor:
    """Tokens of an edit that changes a tenth of its source, with guidance, after what the base has read."""
    canvas = Planted(readings, len(given.source), given.source)
    canvas.target = given.target
    for _ in canvas.fill(Options(speculative=speculative, guidance=WEIGHT), torch.Generator().manual_seed(0)):
        pass
    return canvas.ids


def drawn(given: Scene) -> Tensor:
    """Likeliest tokens of a picture from words, both rows of guidance in one batch."""
    canvas = LineCanvas(given.readings(), len(given.source))
    for _ in canvas.fill(Options(guidance=WEIGHT), torch.Generator().manual_seed(0)):
        pass
    return canvas.ids


@torch.inference_mode()
def drawn_apart(given: Scene) -> Tensor:
    """The same with a pass for each row of guidance."""
    star, caches, ids = given.star, (Caches(), Caches()), []
    inputs, positions = list(given.rows), line(0, given.rows[0].shape[1])
    for _ in range(len(given.source)):
        hidden = [base_states(star, x, positions, cache) for x, cache in zip(inputs, caches, strict=True)]
        states = [stack_states(star, x, positions, cache) for x, cache in zip(hidden, caches, strict=True)]
        cond, uncond = (star.pixel_logits(x[:, -1])[0] for x in states)
        ids.append(int((uncond + WEIGHT * (cond - uncond)).argmax()))
        inputs, positions = [star.drawn(torch.tensor([ids[-1:]]))] * 2, positions[:, -1:] + 1
    return torch.tensor(ids)


def identical(slow: Tensor, fast: Tensor) -> str:
    """The contract of exact ways; raises ``Mismatch``."""
    if not slow.equal(fast):
        raise Mismatch(f"{int((slow != fast).sum())} of {len(slow)} tokens differ between two ways that must agree.")
    return "identical tokens"


def random_races(repeat: int, size: str) -> Iterator[Race]:
    """Speculative editing and batched guidance; raises ``BadInput`` for an unknown size."""
    if size not in SIZES:
        raise BadInput(f"There is no size {size!r}. Take one of: {', '.join(SIZES)}.")
    row = SIZES[size]
    given, name = scene(random_star(row), row.side), f"star {size}"
    readings = given.readings()
    what = f"{row.layers}+{row.stack} x {row.hidden}, {row.side**2} tokens"
    yield race(
        name, f"edit, {CHANGED:.0%} of tokens changed ({what})", ("token by token", lambda: edited(given, readings, False)),
        ("speculative", lambda: edited(given, readings, True)), identical, repeat,
    )  # fmt: skip
    yield race(
        name, f"guidance from words ({what})", ("a pass a branch", lambda: drawn_apart(given)),
        ("branches in one batch", lambda: drawn(given)), identical, repeat,
    )  # fmt: skip


# --- a recorded run


EARLY, LATE = 2, 20
"""Steps of a run that are held against each other, counted from 1."""


def run_races(model: StarModel, edits: Sequence[Edit], repeat: int) -> Iterator[Race]:
    """The embedded weights in a recorded run: what a late step costs against an early one, and editing with them."""
    if len(edits) < LATE:
        raise BadInput(f"The longest recorded run has {len(edits)} steps, fewer than {LATE}. Record a longer one.")
    seconds = {EARLY: float("inf"), LATE: float("inf")}
    for _ in range(repeat):
        fresh = StarModel(model.star, model.tokenizer)
        taken = [step_seconds(fresh, edit) for edit in edits[:LATE]]
        seconds = {step: min(seconds[step], taken[step - 1]) for step in seconds}
    held = same_without_memory(model, edits[LATE - 1])
    yield Race(model.name, f"step {LATE} of a run", f"step {EARLY}", f"step {LATE}", seconds[EARLY], seconds[LATE], held, repeat)


def step_seconds(model: StarModel, edit: Edit) -> float:
    """Seconds of one step as the agent takes it: think, draw, judge the result."""
    began = time.perf_counter()
    for _ in model.stream(Document(edit.document.turns[:1]) if edit.kind == "next" else edit.document, "image"):
        pass
    for _ in model.stream(edit.judged, "text"):
        pass
    return time.perf_counter() - began


def same_without_memory(model: StarModel, edit: Edit) -> str:
    """That a picture drawn in a run equals the one drawn by a model which remembers nothing; raises ``Mismatch``."""

    def picture(which: StarModel) -> Image:
        *_, last = which.stream(edit.document, "image")
        return last.part

    if picture(model) != picture(StarModel(model.star, model.tokenizer)):
        raise Mismatch("A picture depends on what was drawn before it.")
    return "same picture as without what came before"
