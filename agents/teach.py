"""Train the embedded model from nothing: ``python -m agents.teach --out DIR [--stage NAME] [--minutes N] [--resume]``.

The stages of STAR's task-progressive recipe: the VQ; the understanding base, frozen afterwards; the stacked layers
that draw; drawing and editing tuned together; the diffusion decoder. Every stage can be cut at any moment and resumed.
Runs on CPU and GPU alike, and under ``accelerate launch`` on several.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import nn

from agents import lessons, vocabulary
from agents.tasks import maze
from agents.teaching import own as own_drawings
from agents.teaching.decoder_stage import decoder_plan, export_decoder
from agents.teaching.own import Own
from unimm.star.config import CONFIGS, StarConfig
from unimm.star.model import Star, is_base, pictures_to_pixels
from unimm.star.tokenizer import word_tokenizer
from unimm.star.vq import to_uint8
from unimm.train.data import Lesson, Teacher
from unimm.train.drawing import DrawingTrainer, trains_drawing
from unimm.train.loop import StagePlan, run_stage
from unimm.train.understanding import UnderstandingTrainer
from unimm.train.vq import VQTrainer, drop_twins, vq_loss
from unimm.weights import load_sharded, save_sharded

RECIPE = Path(__file__).parent / "teaching" / "recipe.json"


@dataclass(frozen=True)
class Course:
    """What all stages share: the network, its teacher and the recipe's numbers for one stage."""

    star: Star
    teacher: Teacher
    minutes: float
    rate: float
    batch: int
    shares: lessons.Shares
    own: Own = field(default_factory=Own)


def vq_plan(course: Course) -> tuple[StagePlan, nn.Module]:
    held_out = next(lessons.picture_batches(1, course.shares, 32, "val"))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        vq = trainer.vq
        pixels = pictures_to_pixels(torch.as_tensor(held_out))
        ids = vq.encode(pixels)
        drawn = vq.decode(ids, vq.grid(pixels)).float()
        again = vq.encode(pictures_to_pixels(to_uint8(drawn)))
        tiles = vq.encode(pictures_to_pixels(torch.as_tensor(maze.TILES(16).copy())))
        sheet = np.concatenate([held_out, to_uint8(drawn).numpy()], 2)[:24]
        Image.fromarray(rearrange(sheet, "(a b) h w c -> (a h) (b w) c", a=4)).save(out / f"vq_{step:06d}.png")
        psnr = -10 * torch.log10((drawn - pixels).square().mean() / 4)
        same = (again == ids).float().mean()
        return {"psnr": psnr.item(), "same_ids_again": same.item(), "codes_used": len(ids.unique()), "tiles": len(tiles.unique())}

    def batches(seed: int) -> Iterator[Any]:
        return lessons.stream(lambda start: lessons.picture_batches(start, course.shares, course.batch), seed)

    return StagePlan("vq", course.minutes, course.rate, vq_loss, batches, examine, examine_every=60), VQTrainer(course.star.pixel_encoder)


def understanding_plan(course: Course) -> tuple[StagePlan, nn.Module]:
    questions = list(islice(lessons.understanding_lessons(1, course.shares, "val"), 256))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        return replies_right(trainer, course.teacher, questions)

    def batches(seed: int) -> Iterator[Any]:
        def make(start: int) -> Iterator[Any]:
            asked = lessons.understanding_lessons(start, course.shares, own=course.own)
            return lessons.batches(asked, course.teacher, course.batch, seed=start)

        return lessons.stream(make, seed)

    def trains(name: str) -> bool:
        return not name.startswith("star.") or is_base(name.removeprefix("star."))

    plan = StagePlan("understanding", course.minutes, course.rate, _call, batches, examine, trains, examine_every=300)
    return plan, UnderstandingTrainer(course.star)


def drawing_plan(course: Course, editing: bool) -> tuple[StagePlan, nn.Module]:
    tasks = list(islice(lessons.drawing_lessons(1, course.shares, editing, "val"), 192))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        return pictures_right(trainer, course.teacher, tasks, out / f"drawing_{step:06d}.png")

    def batches(seed: int) -> Iterator[Any]:
        def make(start: int) -> Iterator[Any]:
            drawn = lessons.drawing_lessons(start, course.shares, editing, own=course.own)
            return lessons.batches(drawn, course.teacher, course.batch, forgotten=0.1, seed=start)

        return lessons.stream(make, seed)

    name = "unified" if editing else "drawing"
    plan = StagePlan(name, course.minutes, course.rate, _call, batches, examine, trains_drawing, examine_every=300)
    return plan, DrawingTrainer(course.star)


def _call(trainer: nn.Module, batch: Any) -> Any:
    return trainer(batch)


PLANS: dict[str, Callable[[Course], tuple[StagePlan, nn.Module]]] = {
    "vq": vq_plan,
    "understanding": understanding_plan,
    "drawing": lambda course: drawing_plan(course, editing=False),
    "unified": lambda course: drawing_plan(course, editing=True),
    "decoder": decoder_plan,
}


def replies_right(trainer: nn.Module, teacher: Teacher, questions: list[Lesson]) -> dict[str, float]:
    """Share of replies that are right to the last word, a kind of question; judging splits into right and wrong pictures."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for part in parts(questions, 32):
        batch = teacher.batch(part)
        said, wanted = trainer.replies(batch), batch.labels
        for row, lesson in enumerate(part):
            for number, branch in enumerate(lesson.branches, 1):
                here = (batch.segment[row].abs() == number) & (wanted[row] >= 0)
                right, reply = (said[row] == wanted[row])[here], branch.reply.split()
                kind = "_".join(branch.ask.split()[:2]) if not branch.ask.startswith("walked") else "maze_answer"
                if "judge" in kind:
                    verdict = next(place for place, word in enumerate(reply) if word in ("correct", "wrong"))
                    kind = f"{kind}_{reply[verdict]}"
                    hits[f"{kind}_verdict"].append(bool(right[verdict]))
                hits[kind].append(bool(right.all()))
    return {kind: sum(rows) / len(rows) for kind, rows in sorted(hits.items())}


def pictures_right(trainer: nn.Module, teacher: Teacher, tasks: list[Lesson], sheet: Path) -> dict[str, float]:
    """Share of pictures with every token right, a kind of lesson; leaves a sheet of source, wanted and drawn pictures."""
    hits: dict[str, list[bool]] = defaultdict(list)
    rows = []
    for part in parts(tasks, 32):
        batch = teacher.batch(part)
        logits, wanted, _ = trainer.logits(batch)
        drawn = logits.argmax(-1)
        for row, lesson in enumerate(part):
            branch = lesson.branches[0]
            task = "maze" if branch.ask.startswith("draw board") else branch.ask.split()[0]
            kind = "words" if not lesson.shared else "revise" if branch.shows else branch.ask.split()[1]
            hits[f"{task}_{kind}"].append(bool((drawn[row] == wanted[row]).all()))
        if len(rows) < 24 and batch.columns == trainer.star.config.grid:
            side = trainer.star.config.grid
            pictures = to_uint8(trainer.star.pixel_encoder.decode(drawn[:8], (side, side))).numpy()
            rows += [np.concatenate([lesson.pictures[0], lesson.pictures[lesson.branches[0].target], picture], 1)
                     for lesson, picture in zip(part, pictures, strict=False)]  # fmt: skip
    rows = rows[: len(rows) // 4 * 4]
    Image.fromarray(rearrange(np.stack(rows), "(a b) h w c -> (a h) (b w) c", a=4)).save(sheet)
    return {kind: sum(rows) / len(rows) for kind, rows in sorted(hits.items())}


def parts(items: list[Lesson], most: int) -> Iterator[list[Lesson]]:
    """The lessons in parts of one picture size each."""
    for alike in lessons.same_size(items):
        yield from (alike[at : at + most] for at in range(0, len(alike), most))


def carry_over(star: Star, out: Path, stage: str) -> list[str]:
    """Take the parts that earlier stages trained from their checkpoints in ``out``; returns the stages found."""
    found = []
    for earlier in list(PLANS)[: list(PLANS).index(stage)]:
        checkpoint = out / f"{earlier}.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)["module"]
            star.load_state_dict(_own_part(earlier, state), strict=False)
            if earlier == "vq":
                drop_twins(star.pixel_encoder.quantize.embedding.weight)
            found.append(earlier)
    return found


def begin_with(star: Star, folder: Path) -> list[str]:
    """Take over base and stack of a finished model; returns what it did not have. The VQ stays untrained."""
    state = {name: value.float() for name, value in load_sharded(folder).items() if not name.startswith("pixel_encoder.")}
    return [name for name in star.load_state_dict(state, strict=False).missing_keys if not name.startswith("pixel_encoder.")]


def _own_part(stage: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a stage's checkpoint adds to the network, under the network's own names."""
    if stage == "vq":
        return {f"pixel_encoder.{name.removeprefix('vq.')}": value for name, value in state.items() if name.startswith("vq.")}
    own = {name.removeprefix("star."): value for name, value in state.items() if name.startswith("star.")}
    if stage == "understanding":
        return {name: value for name, value in own.items() if is_base(name)}
    return {name: value for name, value in own.items() if trains_drawing(name)}


def export(star: Star, config: StarConfig, teacher: Teacher, folder: Path) -> None:
    """Write the model as it ships: bf16 safetensors in shards, configuration and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    save_sharded({name: value.to(torch.bfloat16) for name, value in star.state_dict().items()}, folder)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
    teacher.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def history(out: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """What training took, from the metrics in ``out``: minutes, steps, examples seen and last held-out metrics of each stage."""
    stages: dict[str, dict[str, Any]] = {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        stage = stages.setdefault(row["stage"], {})
        if "spent" in row:
            examples = row["step"] * recipe["stages"][row["stage"]]["batch"]
            stage |= {"minutes": round(row["spent"] / 60, 1), "steps": row["step"], "examples": examples}
        if "held_out" in row:
            stage["held_out"] = {name: round(value, 4) for name, value in row["held_out"].items()}
    return {"seed": recipe["seed"], "machine": platform.machine(), "threads": torch.get_num_threads(), "stages": stages}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m agents.teach", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, metrics, sample pictures and the finished model")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="JSON with minutes, rate and batch size of every stage, and the seed")
    parser.add_argument("--stage", choices=list(PLANS), action="append", help="train this stage only (may be given several times)")
    parser.add_argument("--minutes", type=float, help="wall-clock budget of each stage trained now, instead of the recipe's")
    parser.add_argument("--resume", action="store_true", help="go on from the stage's checkpoint in --out")
    parser.add_argument("--begin", type=Path, help="folder of a trained model of this size whose base and stack the training begins with")
    parser.add_argument("--size", choices=list(CONFIGS), default="tiny")
    options = parser.parse_args(arguments)
    recipe, config = json.loads(options.recipe.read_text()), CONFIGS[options.size]
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe["seed"])
    teacher = Teacher(config, word_tokenizer(vocabulary.words()))
    star = Star(config)
    if options.begin:
        print(f"begins with {options.begin}, without {begin_with(star, options.begin) or 'nothing'}")
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {sum(p.numel() for p in star.parameters()) / 1e6:.1f} M parameters")
    for stage in options.stage or [name for name in PLANS if name in recipe["stages"]]:
        print(f"stage {stage}, after {carry_over(star, options.out, stage) or 'nothing'}")
        row = recipe["stages"][stage]
        minutes = row["minutes"] if options.minutes is None else options.minutes
        drawn = own_drawings.read((options.out / name for name in row.get("own", ())), row.get("own_share", 0.0))
        course = Course(star, teacher, minutes, row["rate"], row["batch"], row.get("shares", {}), drawn)
        plan, trainer = PLANS[stage](course)
        print(json.dumps(run_stage(plan, trainer, options.out, options.resume, recipe["seed"])))
    export(star, config, teacher, options.out / "model")
    export_decoder(options.out, options.out / "model")
    (options.out / "model" / "training.json").write_text(json.dumps(history(options.out, recipe), indent=1) + "\n")


if __name__ == "__main__":
    main()
