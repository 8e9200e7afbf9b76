"""Train the embedded model from nothing: ``python -m agents.teach --out DIR [--stage NAME] [--minutes N] [--resume]``.

The stages of STAR's task-progressive recipe: the VQ, and its decoder once more alone; the understanding base, frozen
afterwards; the stacked layers that draw; drawing and editing tuned together; the diffusion decoder. Every stage can
be cut at any moment and resumed. Runs on CPU and GPU alike, and under ``accelerate launch`` on several.
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
from agents.tasks.maze_words import cell_name
from agents.teaching import own as own_drawings
from agents.teaching.begin import begin_with, carry_over, learn_looks, use_all_codes
from agents.teaching.decoder_stage import decoder_plan, export_decoder
from agents.teaching.own import Own
from unimm.star.config import CONFIGS, StarConfig
from unimm.star.model import Star, is_base, pictures_to_pixels
from unimm.star.tokenizer import word_tokenizer
from unimm.star.vq import NOWHERE, to_uint8
from unimm.train.data import Lesson, Teacher
from unimm.train.drawing import DrawingTrainer, trains_drawing
from unimm.train.inspection import InspectionTrainer, trains_inspection
from unimm.train.loop import StagePlan, run_stage
from unimm.train.understanding import UnderstandingTrainer
from unimm.train.vq import VQDecoderTrainer, VQTrainer, trains_vq_decoder, vq_loss
from unimm.weights import save_sharded

RECIPE = Path(__file__).parent / "teaching" / "recipe.json"
AVERAGE = 0.995
"""What the running average of base and stack keeps at a step: it looks back some 200 of them, minutes of training."""


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
    parts: int = 1


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


def vq_decoder_plan(course: Course) -> tuple[StagePlan, nn.Module]:
    held_out = torch.as_tensor(next(lessons.picture_batches(1, course.shares, 64, "val")))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        return {"psnr": trainer(pictures_to_pixels(held_out))[1]["psnr"]}

    def batches(seed: int) -> Iterator[Any]:
        return lessons.stream(lambda start: lessons.picture_batches(start, course.shares, course.batch), seed)

    plan = StagePlan("vq_decoder", course.minutes, course.rate, vq_loss, batches, examine, trains_vq_decoder)
    return plan, VQDecoderTrainer(course.star.pixel_encoder)


NAMED_PLACES = ((8, 1), (4, 2))
"""(names along a side, tokens along the side of what is named): points and boards have a name a token, slots one for 2 x 2 of them."""


@torch.no_grad()
def name_places(star: Star, teacher: Teacher) -> None:
    """Add to the places of drawn tokens what their names have in common, row by row and column by column.

    A token then looks like the words that say where something goes: to find in a thought what belongs to its place is from the
    start the search for what looks alike, not 64 names to be learnt one by one.
    """
    words, places = star.base.model.language_model.embed_tokens.weight, star.drawn_places
    for names, tokens in NAMED_PLACES:
        ids = [[teacher.encode(cell_name((row, column)))[0] for column in range(names)] for row in range(names)]
        looks = words[torch.tensor(ids)].float()
        for table, along in ((places.row, 1), (places.column, 0)):
            common = looks.mean(along) - looks.mean((0, 1))
            table.weight[: names * tokens] += common.repeat_interleave(tokens, 0) * 1.4 / common.norm(dim=1).mean()


def understanding_plan(course: Course) -> tuple[StagePlan, nn.Module]:
    questions = list(islice(lessons.understanding_lessons(1, course.shares, "val"), 256))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        return replies_right(trainer, course.teacher, questions)

    def batches(seed: int) -> Iterator[Any]:
        def make(start: int) -> Iterator[Any]:
            asked = lessons.understanding_lessons(start, course.shares, own=course.own)
            return lessons.batches(asked, course.teacher, course.batch // course.parts, seed=start)

        return lessons.stream(make, seed)

    def trains(name: str) -> bool:
        return not name.startswith("star.") or is_base(name.removeprefix("star."))

    plan = StagePlan("understanding", course.minutes, course.rate, _call, batches, examine, trains, parts=course.parts, examine_every=600,
                     average=AVERAGE)  # fmt: skip
    return plan, UnderstandingTrainer(course.star, named=lessons.named(course.teacher))


def inspection_plan(course: Course) -> tuple[StagePlan, nn.Module]:
    judged = list(islice(lessons.inspection_lessons(1, course.shares, "val"), 192))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        found = [trainer.found(course.teacher.batch(part)) for part in parts(judged, 32)]
        return {name: sum(row[name] for row in found) / len(found) for name in found[0]}

    def batches(seed: int) -> Iterator[Any]:
        def make(start: int) -> Iterator[Any]:
            shown = lessons.inspection_lessons(start, course.shares, own=course.own)
            return lessons.batches(shown, course.teacher, course.batch // course.parts, seed=start)

        return lessons.stream(make, seed)

    plan = StagePlan("inspection", course.minutes, course.rate, _call, batches, examine, trains_inspection, parts=course.parts,
                     average=AVERAGE)  # fmt: skip
    return plan, InspectionTrainer(course.star)


def drawing_plan(course: Course, editing: bool) -> tuple[StagePlan, nn.Module]:
    tasks = list(islice(lessons.drawing_lessons(1, course.shares, editing, "val"), 192))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        return pictures_right(trainer, course.teacher, tasks, out / f"drawing_{step:06d}.png")

    def batches(seed: int) -> Iterator[Any]:
        def make(start: int) -> Iterator[Any]:
            drawn = lessons.drawing_lessons(start, course.shares, editing, own=course.own)
            return lessons.batches(drawn, course.teacher, course.batch // course.parts, forgotten=0.1, seed=start)

        return lessons.stream(make, seed)

    name = "unified" if editing else "drawing"
    plan = StagePlan(name, course.minutes, course.rate, _call, batches, examine, trains_drawing, parts=course.parts, examine_every=600,
                     average=AVERAGE)  # fmt: skip
    return plan, DrawingTrainer(course.star, named=lessons.named(course.teacher))


def _call(trainer: nn.Module, batch: Any) -> Any:
    return trainer(batch)


PLANS: dict[str, Callable[[Course], tuple[StagePlan, nn.Module]]] = {
    "vq": vq_plan,
    "vq_decoder": vq_decoder_plan,
    "understanding": understanding_plan,
    "inspection": inspection_plan,
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
                kind = kind if len(lesson.pictures) else f"words_{kind}"
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
            kind = "words" if branch.source < 0 and not lesson.shared else "revise" if branch.shows else branch.ask.split()[1]
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


def export(star: Star, config: StarConfig, teacher: Teacher, folder: Path, packed: bool = False) -> None:
    """Write the model as it ships: safetensors in shards, configuration and tokenizer.

    What belongs to codes that are not in use is left out of it as zeros. ``packed`` makes the files smaller still.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = star.state_dict()
    if star.base.lm_head.weight is star.base.model.language_model.embed_tokens.weight:
        del state["base.lm_head.weight"]
    idle = star.pixel_encoder.quantize.embedding.weight.abs().amax(1) > NOWHERE / 2
    for name in state.keys() & {"pixel_output_head.weight", "pixel_output_head.bias", "pixel_change_head.looks"}:
        state[name] = state[name].masked_fill(idle.view(-1, *(1,) * (state[name].ndim - 1)), 0.0)
    save_sharded({name: value.to(stored_as(name, value)) for name, value in state.items()}, folder, packed=packed)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
    teacher.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def stored_as(name: str, value: torch.Tensor) -> torch.dtype:
    """8 bits for matrices of the base and of the VQ's decoder, whose replies and pixels these leave as they are; 16 for the rest.

    What decides between codes and what draws with them is kept finer.
    """
    coarse = value.ndim >= 2 and (is_base(name) or name.startswith("pixel_encoder.decoder."))
    return torch.float8_e4m3fn if coarse else torch.bfloat16


@torch.no_grad()
def as_it_ships(star: Star) -> None:
    """Round what is frozen while the stack learns as the finished model stores it: the nearest code hangs on the last bits, and what
    draws has to know the codes that it will be given."""
    for name, value in star.named_parameters():
        if is_base(name) or name.startswith("pixel_encoder."):
            value.copy_(value.to(stored_as(name, value)))


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
    parser.add_argument("--begin", type=Path, help="folder of a trained model of this size that the training goes on from")
    parser.add_argument("--all-codes", action="store_true", help="with --begin: put codes that it has no use for where they help most")
    parser.add_argument("--packed", action="store_true", help="write the finished model's weights in xz containers")
    parser.add_argument("--size", choices=list(CONFIGS), default="tiny")
    options = parser.parse_args(arguments)
    recipe, config = json.loads(options.recipe.read_text()), CONFIGS[options.size]
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe["seed"])
    teacher = Teacher(config, word_tokenizer(vocabulary.words()))
    star = Star(config)
    if options.begin:
        print(f"begins with {options.begin}, without {begin_with(star, options.begin) or 'nothing'}")
    if options.all_codes:
        print(f"{use_all_codes(star, recipe['stages']['vq_decoder']['shares'])} more codes in use")
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {sum(p.numel() for p in star.parameters()) / 1e6:.1f} M parameters")
    for stage in options.stage or [name for name in PLANS if name in recipe["stages"]]:
        row = recipe["stages"][stage]
        print(f"stage {stage}, after {carry_over(star, options.out, list(PLANS)[: list(PLANS).index(stage)]) or 'nothing'}")
        minutes = row["minutes"] if options.minutes is None else options.minutes
        drawn = own_drawings.read((options.out / name for name in row.get("own", ())), row.get("own_share", 0.0))
        course = Course(star, teacher, minutes, row["rate"], row["batch"], row.get("shares", {}), drawn, row.get("parts", 1))
        if stage in ("drawing", "unified"):
            as_it_ships(star)
            learn_looks(star, recipe["stages"].get("vq", row)["shares"])
        if stage == "drawing" and not options.resume:
            name_places(star, teacher)
        plan, trainer = PLANS[stage](course)
        print(json.dumps(run_stage(plan, trainer, options.out, options.resume, recipe["seed"])))
    export(star, config, teacher, options.out / "model", options.packed)
    export_decoder(options.out, options.out / "model", packed=options.packed)
    (options.out / "model" / "training.json").write_text(json.dumps(history(options.out, recipe), indent=1) + "\n")


if __name__ == "__main__":
    main()
