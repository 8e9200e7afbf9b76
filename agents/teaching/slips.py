"""What the stack would draw wrong: ``python -m agents.teaching.slips --model FOLDER --task maze --minutes 6 --out FILE.jsonl``.

Right next pictures of problems of the split train are drawn in one pass, every token sampled after the right ones before it, a dozen
problems at once: many times faster than to let the model draw, and it slips in the same places. Half of the pictures then go on
from their slips, in one more pass: a line that has left its way leads elsewhere. With ``--runs`` it is what the model draws in whole runs
instead. The program checks each picture; wrong ones and about as many right ones are kept, in files as ``agents.mistakes`` writes them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.evaluate import weights_hash
from agents.mistakes import Drawing, Tally, counted
from agents.run import WHICH, load_model
from agents.tasks import TASKS, Task, maze, scene
from agents.tasks import geometry_words as words
from agents.tasks.compose_words import think_words
from agents.tasks.geometry_pictures import canvas
from agents.teaching import own
from agents.teaching.runs import run_pictures
from unimm.document import Image
from unimm.errors import BadInput, UnimmError
from unimm.model import UnifiedModel
from unimm.star.generate import StarModel
from unimm.star.options import REFINING
from unimm.star.pictures import fitted, from_tokens, to_canvas
from unimm.star.sharpen import levels, sharpened
from unimm.train.data import Branch, Lesson, Teacher
from unimm.train.decoder import Pair
from unimm.train.drawing import DrawingTrainer

TEMPERATURES = (1.0, 1.4, 1.8, 2.2)
SAMPLED = {"geometry": (0.15, 0.4, 1.0), "maze": (0.05, 0.2, 1.0), "compose": (0.1, 0.3, 1.0)}
"""Shares of a picture's tokens that are sampled, where the others are the likeliest: a drawing mostly slips in one place or two. Any cell
of a maze can be spoilt, while of a figure most are blank."""
LIKELIEST = 200
"""Codes that are sampled from: the tails of so many codes weigh more than a drawing would have them."""
AT_ONCE, EACH, FOLLOWED = 16, 4, 2
"""Moments a pass, and pictures that are drawn of each: one pass is worth several samples, for where it is sure they hardly differ. So many
of these pictures go on from their slips."""
BOARDS, GREYED, LOOPS = ((4, 5, 6, 7, 8), (10, 11, 12, 12), (10, 11, 12, 12)), 0.6, 0.15
"""Sizes of boards of one canvas, the share of them at which dead ends are greyed, and of those with loops."""
DRAWN = {"geometry": 0.8, "compose": 0.2}
"""Share of every task in the drawings that the decoder learns from. No boards: what a cell is to be can be guessed from those around it,
and a decoder that learns to do so undoes what was drawn rightly."""
MILDLY = ((0.0, 1.0), (0.3, 1.0), (1.0, 1.4), (0.3, 1.8))
"""Shares of a picture's tokens that are sampled for the decoder, and at which temperature: much further off there is nothing to learn."""
FAULTLESS = 0.2
"""Share that is kept of the drawings without a slip: there are enough of these elsewhere."""
RIGHT = 1.2
"""Right pictures kept for every wrong one."""


Moment = tuple[Any, Image, Image, Lesson]
"""A problem, the pictures before and after a step of its construction, and the lesson that draws the step."""


def slips(model: StarModel, task: Task, seed: int) -> Iterator[Drawing]:
    """Pictures of a task of MOMENTS without end, EACH of AT_ONCE moments a pass; the same seed gives the same ones."""
    rng, generator = random.Random(f"slips:{seed}"), torch.Generator().manual_seed(seed)
    trainer, teacher = DrawingTrainer(model.star).eval(), Teacher(model.config, model.tokenizer)
    while True:
        moments = MOMENTS[task.name](rng, AT_ONCE)
        with torch.inference_mode():
            logits = trainer.logits(teacher.batch([lesson for *_, lesson in moments]))[0]
        drawn = torch.stack([torch.stack([_sampled(row, SAMPLED[task.name], rng, generator) for _ in range(EACH)]) for row in logits])
        for number in range(FOLLOWED):
            drawn[:, number] = _followed(model, trainer, teacher, moments, drawn[:, number], logits.argmax(-1))
        for (problem, before, gold, lesson), pictures in zip(moments, drawn, strict=True):
            for codes in pictures:
                yield Drawing(problem, before, gold, lesson.branches[0].reply, _shown(model, before, codes, rng.randrange(2**31)))


def drawn_pairs(model: StarModel, seed: int) -> Iterator[Pair]:
    """What the decoder learns from the drawing half: right next pictures without end, and codes that it draws them in; most of them with
    slips, a few places that it must not show as they are told."""
    rng, generator = random.Random(f"drawn pairs:{seed}"), torch.Generator().manual_seed(seed)
    trainer, teacher = DrawingTrainer(model.star).eval(), Teacher(model.config, model.tokenizer)
    while True:
        moments, found = MOMENTS[rng.choices(list(DRAWN), list(DRAWN.values()))[0]](rng, AT_ONCE), list[Pair]()
        with torch.inference_mode():
            logits = trainer.logits(teacher.batch([lesson for *_, lesson in moments]))[0]
            for (_, before, gold, _), row in zip(moments, logits, strict=True):
                (source, source_codes), (target, right) = _source(model, before), _source(model, gold)
                for share, temperature in MILDLY:
                    codes = _sampled(row, [share], rng, generator, [temperature])
                    if not torch.equal(codes, right) or rng.random() < FAULTLESS:
                        both = torch.stack([source_codes, codes]).unflatten(1, (_columns(codes), -1))
                        found.append(Pair(levels(source), levels(target), both.numpy()))
        yield from rng.sample(found, len(found))


def _figures(rng: random.Random, count: int) -> list[Moment]:
    task, found = TASKS["geometry"], []
    for _ in range(count):
        problem = task.problem("train", rng.randrange(10**9), rng.choice(task.groups))
        question = problem.question
        at = rng.randrange(len(question.sheets) - 1)
        sheets = question.sheets[at : at + 2]
        branch = Branch(words.ask_words("next", question), words.think_words(question, sheets[0]), draws=True, source=0, target=1)
        lesson = Lesson(np.stack([canvas(sheet) for sheet in sheets]), (0,), (branch,))
        found.append((problem, task.render(sheets[0]), task.render(sheets[1]), lesson))
    return found


def _boards(rng: random.Random, count: int) -> list[Moment]:
    """Boards of one canvas, larger ones more often: they have more places to slip in."""
    sizes, found = rng.choice(BOARDS), []
    for _ in range(count):
        problem = maze.problem("train", rng.randrange(10**9), rng.choice(sizes), "loops" if rng.random() < LOOPS else None)
        frames = [problem.board, *maze.solve(problem).frames]
        greying = sum(frame.greying for frame in frames)
        at = rng.randrange(greying) if greying and rng.random() < GREYED else rng.randrange(len(frames) - 1)
        branch = Branch(maze.INSTRUCTIONS["next"], maze.think_words(frames[at]), draws=True, source=0, target=1)
        lesson = Lesson(np.stack([maze.render_cells(frame) for frame in frames[at : at + 2]]), (0,), (branch,))
        found.append((problem, maze.render(frames[at]), maze.render(frames[at + 1]), lesson))
    return found


def _scenes(rng: random.Random, count: int) -> list[Moment]:
    task, found = TASKS["compose"], []
    for _ in range(count):
        problem = task.problem("train", rng.randrange(10**9), rng.choice(task.groups))
        after = task.solve(problem).frames[0]
        branch = Branch(task.asks(problem)["next"], think_words(problem.scene, after, problem.ask), draws=True, source=0, target=1)
        lesson = Lesson(np.stack([scene.canvas(sheet) for sheet in (problem.scene, after)]), (0,), (branch,))
        found.append((problem, problem.image, task.render(after), lesson))
    return found


MOMENTS: Mapping[str, Callable[[random.Random, int], list[Moment]]] = {"geometry": _figures, "maze": _boards, "compose": _scenes}
"""Task -> so many random moments, all of one size of picture."""


def _sampled(
    logits: Tensor, shares: Sequence[float], rng: random.Random, generator: torch.Generator, temperatures: Sequence[float] = TEMPERATURES
) -> Tensor:
    """Codes [cells] from logits [cells, codes]: the likeliest ones, a share of them sampled."""
    best, codes = logits.topk(min(LIKELIEST, logits.shape[-1]), -1)
    drawn = codes.gather(1, torch.multinomial((best / rng.choice(temperatures)).softmax(-1), 1, generator=generator))[:, 0]
    return torch.where(torch.rand(len(codes), generator=generator) < rng.choice(shares), drawn, codes[:, 0])


@torch.inference_mode()
def _followed(
    model: StarModel, trainer: DrawingTrainer, teacher: Teacher, moments: Sequence[Moment], drawn: Tensor, likeliest: Tensor
) -> Tensor:
    """Codes [moments, cells] with the slips of ``drawn``, where it is not the ``likeliest``, and the likeliest after these elsewhere."""
    lessons = []
    for (_, before, _, lesson), codes in zip(moments, drawn, strict=True):
        after = from_tokens(codes, model.star.pixel_encoder, model.config, _columns(codes), *_source(model, before))
        lessons.append(replace(lesson, pictures=np.stack([lesson.pictures[0], own.canvas(after)])))
    return torch.where(drawn != likeliest, drawn, trainer.logits(teacher.batch(lessons))[0].argmax(-1))


def _source(model: StarModel, before: Image) -> tuple[Image, Tensor]:
    """The picture that is drawn on, as the model takes it, and its codes."""
    source = fitted(before, model.config)
    return source, model.star.pixel_encoder.encode(to_canvas(source, model.config))[0]


@torch.inference_mode()
def _shown(model: StarModel, before: Image, codes: Tensor, seed: int) -> Image:
    """The picture of codes that were drawn as a change of ``before``, as the model shows it."""
    vq, config = model.star.pixel_encoder, model.config
    source, source_ids = _source(model, before)
    if model.sharpener is None or torch.equal(codes, source_ids):
        return from_tokens(codes, vq, config, _columns(codes), source, source_ids)
    *_, image = sharpened(model.sharpener, vq, config, codes, _columns(codes), source, source_ids, REFINING, seed)
    return image


def _columns(codes: Tensor) -> int:
    return math.isqrt(len(codes))


def collect(
    drawings: Iterable[Drawing], task: Task, series: str, minutes: float, file: Path, clock: Callable[[], float] = time.monotonic
) -> Tally:
    """Append what is kept of some drawings to ``file`` until the minutes are over."""
    began, tally = clock(), Tally()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        for drawing in drawings:
            tally, row = counted(task, drawing, tally, RIGHT)
            if row is not None:
                out.write(json.dumps({"task": task.name, "series": series, "number": tally.tried, **row, "tally": asdict(tally)}) + "\n")
                out.flush()
            if clock() - began >= 60 * minutes:
                break
    return tally


def _drawings(model: UnifiedModel, task: Task, given: argparse.Namespace) -> Iterator[Drawing]:
    if given.runs is not None:
        known = {str(group): group for group in task.groups}
        if strange := [name for name in given.runs if name not in known]:
            raise BadInput(f"{task.name} has no group {strange[0]!r}. It has {', '.join(known)}.")
        return run_pictures(model, task, given.seed, [known[name] for name in given.runs])
    if not isinstance(model, StarModel):
        raise BadInput(f"{given.model} is not of the embedded kind, whose stack draws a picture in one pass.")
    return slips(model, task, given.seed)


def main(arguments: Sequence[str] | None = None, load: Callable[[str], Any] = load_model) -> int:
    """The command; returns the exit status: 0 collected, 2 could not."""
    flags = argparse.ArgumentParser(
        prog="python -m agents.teaching.slips", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--model", default="star-tiny", help=f"{WHICH} (default: star-tiny)")
    flags.add_argument("--task", choices=list(MOMENTS), default="geometry", help="whose pictures (default: geometry)")
    flags.add_argument("--seed", type=int, default=0, help="which problems, moments and codes (default: 0)")
    flags.add_argument("--runs", nargs="*", metavar="GROUP", help="pictures of whole runs instead, on problems of these groups (none: all)")
    flags.add_argument("--minutes", type=float, default=6.0, help="stop after so many minutes (default: 6)")
    flags.add_argument("--out", type=Path, required=True, help="file of drawings, one JSON line each; it is appended to")
    given = flags.parse_args(arguments)
    try:
        model, task = load(given.model), TASKS[given.task]
        series = f"{weights_hash(given.model)[:12] or model.name} {'slips' if given.runs is None else 'runs'} {given.seed}"
        tally = collect(_drawings(model, task, given), task, series, given.minutes, given.out)
    except (UnimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.task}: {tally.words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
