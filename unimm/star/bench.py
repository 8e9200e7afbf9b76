"""What makes STAR's drawing fast, measured on the embedded model with the pictures of recorded runs.

Both sides of a comparison work on the same documents in one process, in turns, and must give the same result.
``python -m unimm.bench star-tiny`` prints the report; ``races`` (with ``star.races``) takes part in ``python -m unimm.bench all``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimm.document import Document, Image
from unimm.model import Options
from unimm.star.canvas import Canvas
from unimm.star.generate import StarModel
from unimm.star.pictures import fitted, to_canvas
from unimm.star.prefix import Reader, chunks_of
from unimm.star.races import random_races, run_races
from unimm.star.recorded import TRACES, Edit, longest_run, spread
from unimm.timing import Mismatch, Race, peak_memory_gb, this_machine

RULE = "One process; every number is the sum over the documents of the best of {repeat} timings."


@dataclass(frozen=True)
class Drawn:
    """VQ ids of one drawing, the passes through the network that it took, and its seconds."""

    ids: Tensor
    passes: int
    seconds: float


def draw_tokens(model: StarModel, document: Document, speculative: bool) -> Drawn:
    """The tokens of a document's picture, likeliest ones; what the base reads before is not timed."""
    with torch.inference_mode():
        prefix = model.reader.read(chunks_of(document, model.encode, model.special))
        source = fitted(prefix.images[-1], model.config)
        columns = source.width // (model.config.vq.factor * model.config.scale)
        source_ids = model.star.pixel_encoder.encode(to_canvas(source, model.config))[0]
        began = time.perf_counter()
        opened, _ = model.reader.step(prefix, [model.special["<|vision_start|>"]])
        canvas = Canvas(model.star, [opened], columns, source_ids, model.special["<|vision_end|>"])
        for _ in canvas.fill(Options(speculative=speculative), torch.Generator().manual_seed(0)):
            pass
    return Drawn(canvas.ids, canvas.passes, time.perf_counter() - began)


def stream_picture(model: StarModel, document: Document, speculative: bool) -> tuple[Image, float]:
    """The same as a caller sees it, previews and decoded pixels included."""
    began = time.perf_counter()
    *_, last = model.stream(document, "image", Options(speculative=speculative))
    return last.part, time.perf_counter() - began


def compare_editing(model: StarModel, edits: Sequence[Edit], repeat: int) -> dict[str, Any]:
    """Speculative against token by token; raises ``Mismatch`` where a token or a pixel differs."""
    sums: dict[str, float] = dict.fromkeys(("tokens_fast", "tokens_slow", "stream_fast", "stream_slow"), 0.0)
    passes = {True: 0, False: 0}
    for edit in edits:
        best = dict.fromkeys(sums, float("inf"))
        for _ in range(repeat):
            fast, slow = (draw_tokens(model, edit.document, speculative) for speculative in (True, False))
            if not fast.ids.equal(slow.ids):
                raise Mismatch("Speculative editing drew other tokens than token by token.")
            (shown, fast_stream), (other, slow_stream) = (stream_picture(model, edit.document, way) for way in (True, False))
            if shown != other:
                raise Mismatch("Speculative editing showed another picture than token by token.")
            taken = (fast.seconds, slow.seconds, fast_stream, slow_stream)
            best = {name: min(best[name], seconds) for name, seconds in zip(sums, taken, strict=True)}
        sums = {name: sums[name] + best[name] for name in sums}
        passes = {True: passes[True] + fast.passes, False: passes[False] + slow.passes}
    return {
        "pictures": len(edits), "redrawn": sum(edit.kind == "revise" for edit in edits), "identical": True,
        "passes_speculative": passes[True], "passes_token_by_token": passes[False],
        "seconds_speculative": sums["tokens_fast"], "seconds_token_by_token": sums["tokens_slow"],
        "ratio": sums["tokens_slow"] / sums["tokens_fast"],
        "stream_seconds_speculative": sums["stream_fast"], "stream_seconds_token_by_token": sums["stream_slow"],
        "stream_ratio": sums["stream_slow"] / sums["stream_fast"],
    }  # fmt: skip


def compare_prefixes(model: StarModel, edits: Sequence[Edit], repeat: int) -> dict[str, Any]:
    """Reading what thinking, judging and redrawing are asked with, in the order of the run, with memory of what was read and without.

    A question about a picture begins like the one before it, and a picture judged is seen again as the next one's source.
    Raises ``Mismatch`` where a hidden state differs.
    """
    documents = [
        document for edit in edits
        for document in (edit.document if edit.kind == "revise" else Document(edit.document.turns[:1]), edit.judged)
    ]  # fmt: skip
    best = {True: float("inf"), False: float("inf")}
    for _ in range(repeat):
        states = {}
        for remembered in (True, False):
            fresh = StarModel(model.star, model.tokenizer)
            read = _reading(fresh, remembered)
            began = time.perf_counter()
            with torch.inference_mode():
                states[remembered] = [read(document) for document in documents]
            best[remembered] = min(best[remembered], time.perf_counter() - began)
        if not all(one.equal(other) for one, other in zip(states[True], states[False], strict=True)):
            raise Mismatch("A remembered prefix differs from one that is read anew.")
    return {"documents": len(documents), "identical": True, "seconds_on": best[True], "seconds_off": best[False],
            "ratio": best[False] / best[True]}  # fmt: skip


def _reading(model: StarModel, remembered: bool) -> Callable[[Document], Tensor]:
    """Reads a document to its last hidden state; without memory the vision tower looks at every picture again, too."""

    def see(image: Image) -> tuple[Tensor, int]:
        image = fitted(image, model.config)
        return model.star.see(to_canvas(image, model.config)), image.width // (model.config.vq.factor * model.config.scale)

    reader = model.reader if remembered else Reader(model.star, see, model.special, remembered=0)
    return lambda document: reader.read(chunks_of(document, model.encode, model.special)).hidden[:, -1]


def run(model: StarModel, edits: Sequence[Edit], count: int, repeat: int) -> dict[str, Any]:
    """All comparisons as plain data, on at most ``count`` of the edits."""
    editing, prefixes = compare_editing(model, spread(edits, count), repeat), compare_prefixes(model, edits[:count], repeat)
    return {
        "model": model.name, "repeat": repeat, "editing": editing, "prefixes": prefixes, "peak_memory_gb": peak_memory_gb(),
        **this_machine(),
    }  # fmt: skip


def report(data: dict[str, Any]) -> str:
    """The numbers for people."""
    editing, prefixes, machine = data["editing"], data["prefixes"], data["machine"]
    count = editing["pictures"]

    def line(name: str, fast: float, slow: float, ratio: float, unit: int) -> str:
        each = f"{1000 * fast / unit:.0f} ms against {1000 * slow / unit:.0f} ms each"
        return f"  {name:<26} {fast:8.2f} s  {slow:8.2f} s  {ratio:6.1f}x   {each}"

    return "\n".join((
        f"{data['model']}, {machine['cores']} cores, {machine['threads']} threads, torch {data['versions']['torch']}",
        RULE.format(repeat=data["repeat"]),
        f"Editing, {count} pictures ({editing['redrawn']} redrawn): speculative, token by token, how much faster",
        line("tokens", editing["seconds_speculative"], editing["seconds_token_by_token"], editing["ratio"], count),
        line("whole stream, previews too", editing["stream_seconds_speculative"], editing["stream_seconds_token_by_token"],
             editing["stream_ratio"], count),
        f"  passes                     {editing['passes_speculative']:8}    {editing['passes_token_by_token']:8}    tokens identical: yes",
        f"Reading, {prefixes['documents']} documents: prefix cache on, off, how much faster",
        line("reading", prefixes["seconds_on"], prefixes["seconds_off"], prefixes["ratio"], prefixes["documents"]),
        f"Peak memory of this process: {data['peak_memory_gb']:.2f} GB",
    ))  # fmt: skip


def races(repeat: int = 3, size: str = "middle") -> Iterator[Race]:
    """Random weights at a size of ``star.races.SIZES``, then the embedded weights on recorded runs.

    Raises ``BadInput`` for an unknown size, ``Mismatch`` where two ways differ.
    """
    yield from random_races(repeat, size)
    yield from run_races(StarModel.load(), longest_run(TRACES), repeat)
