"""The stage "decoder": STAR's third, with the VQ and everything else frozen.

``python -m agents.teaching.decoder_stage --out DIR [--minutes N] [--resume] [--model FOLDER] [--begin FOLDER]`` trains it alone: against
the VQ of a finished model and into its folder, every second picture as that model draws it, slips and all (the alignment of drawing and
decoder), or against the VQ in ``DIR/vq.pt`` and into ``DIR/model``; from nothing, or from another model's decoder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import nn

from agents.lessons import stream
from agents.teaching.decoder_pairs import SHOWN_PX, pairs
from agents.teaching.slips import drawn_pairs
from unimm.star import load
from unimm.star.config import CONFIGS, StarConfig
from unimm.star.generate import StarModel
from unimm.star.sharpen import DECODER_FILES, Sharpener
from unimm.star.vq import VQModel
from unimm.train.decoder import DecoderTrainer, Pair, Pairs, batches, gathered, trains_decoder
from unimm.train.loop import StagePlan, run_stage
from unimm.train.vq import drop_twins
from unimm.weights import load_sharded, load_strict, save_sharded

PAIR_CELLS = 64
"""Cells of a whole picture: the recipe's batch counts whole pictures, also where parts are trained on."""


class Course(Protocol):
    """What the stage needs of ``agents.teach.Course``."""

    star: Any
    teacher: Any
    minutes: float
    rate: float
    batch: int


def decoder_plan(course: Course) -> tuple[StagePlan, nn.Module]:
    drawn, vq = StarModel(course.star, course.teacher.tokenizer), course.star.pixel_encoder
    return plan_for(vq, course.star.config, course.minutes, course.rate, course.batch, drawn=drawn)


def plan_for(
    vq: VQModel, config: StarConfig, minutes: float, rate: float, batch: int, sharpener: Sharpener | None = None,
    drawn: StarModel | None = None,
) -> tuple[StagePlan, nn.Module]:  # fmt: skip
    """The stage; every second pair is as the model ``drawn`` draws it, where one is given."""
    held_out = list(islice(_small(pairs(1, "val")), 64))

    def examine(trainer: nn.Module, out: Path, step: int) -> dict[str, float]:
        return sharpness(trainer, held_out, out / f"decoder_{step:06d}.png")

    def make(seed: int) -> Iterator[Pairs]:
        found = pairs(seed) if drawn is None else in_turn(pairs(seed), drawn_pairs(drawn, seed))
        return batches(found, SHOWN_PX, batch * PAIR_CELLS, seed)

    plan = StagePlan("decoder", minutes, rate, _call, lambda seed: stream(make, seed), examine, trains_decoder, examine_every=300)
    return plan, DecoderTrainer(vq, config, sharpener)


def in_turn(*sources: Iterator[Pair]) -> Iterator[Pair]:
    """One of each, again and again."""
    for found in zip(*sources, strict=True):
        yield from found


def _call(trainer: nn.Module, batch: Any) -> Any:
    return trainer(batch)


def _small(source: Iterator[Pair]) -> Iterator[Pair]:
    return (pair for pair in source if len(pair.target) == 8 * SHOWN_PX)


def sharpness(trainer: DecoderTrainer, held_out: list[Pair], sheet: Path) -> dict[str, float]:
    """How near the drawn parts of held-out pictures come, for the VQ's pixels and for the decoder's.

    "psnr" is over what is drawn, "edges" the share of the strength of edges that is kept, "again" the share of drawn cells that the
    VQ reads back as the code they were drawn from. Leaves a sheet of source, VQ, decoder and wanted pictures.
    """
    given = gathered(held_out)
    draft, targets = trainer.draft(given)
    noise = torch.randn(targets.shape, generator=torch.Generator().manual_seed(0)).to(targets.device)
    with torch.autocast(targets.device.type, enabled=False):
        sharp = list(trainer.sharpener.refine(noise, draft, trainer.sharpener.config.steps))[-1].clamp(-1, 1)
    blown_up = torch.where(F.interpolate(draft.kept, targets.shape[2:]) > 0, draft.source, trainer.sharpener.enlarged(draft)).clamp(-1, 1)
    ids = _codes(trainer, targets)
    drawn = (draft.kept <= 0)[:, 0].flatten(1)
    area = F.interpolate((draft.kept <= 0).float(), targets.shape[2:]).expand_as(targets) > 0
    numbers = {}
    for name, picture in (("vq", blown_up), ("decoder", sharp)):
        error = (picture - targets)[area].square().mean()
        numbers[f"{name}_psnr"] = (-10 * torch.log10(error / 4)).item()
        numbers[f"{name}_edges"] = (_edges(picture) / _edges(targets)).item()
        numbers[f"{name}_again"] = (_codes(trainer, picture) == ids)[drawn].float().mean().item()
    rows = torch.cat([draft.source, blown_up, sharp, targets], 3)[:24]
    levels = ((rows + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    Image.fromarray(rearrange(levels, "(a b) c h w -> (a h) (b w) c", b=2).cpu().numpy()).save(sheet)
    return numbers


def _codes(trainer: DecoderTrainer, shown: torch.Tensor) -> torch.Tensor:
    with torch.autocast(shown.device.type, enabled=False):
        return trainer.vq.encode(F.avg_pool2d(shown.float(), trainer.config.scale))


def _edges(picture: torch.Tensor) -> torch.Tensor:
    """Mean square of the steps between neighbouring pixels: a blurred edge has many small ones."""
    return picture.diff(dim=2).square().mean() + picture.diff(dim=3).square().mean()


def export_decoder(out: Path, folder: Path, dtype: torch.dtype = torch.bfloat16, packed: bool = False) -> None:
    """Put the decoder that ``out`` holds, if it holds one, beside a model's weights; ``packed`` makes the file smaller."""
    checkpoint = out / "decoder.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["module"]
        own = {name.removeprefix("sharpener."): value.to(dtype) for name, value in state.items() if name.startswith("sharpener.")}
        save_sharded(own, folder, DECODER_FILES, packed=packed)


def trained_vq(out: Path, config: StarConfig) -> VQModel:
    """The VQ that ``out`` holds, as later stages use it: without twins among its codes."""
    state = torch.load(out / "vq.pt", map_location="cpu", weights_only=True)["module"]
    vq = VQModel(config.vq)
    load_strict(vq, {name.removeprefix("vq."): value for name, value in state.items() if name.startswith("vq.")}, "VQ")
    drop_twins(vq.quantize.embedding.weight)
    return vq


def begun(config: StarConfig, folder: Path) -> Sharpener:
    """A decoder with the weights of the one in a model folder; what that has not begins as it is made."""
    sharpener = Sharpener(config)
    sharpener.load_state_dict({name: value.float() for name, value in load_sharded(folder, DECODER_FILES).items()}, strict=False)
    return sharpener


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m agents.teaching.decoder_stage", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint, metrics and sample pictures; may hold vq.pt")
    parser.add_argument("--model", type=Path, help="folder of a finished model, whose VQ is used and which gets the decoder")
    parser.add_argument("--begin", type=Path, help="folder of a model from whose decoder the training goes on")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--batch", type=int, default=8, help="pictures of 8 x 8 tokens a step, or as much in parts of pictures")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--packed", action="store_true", help="write the weights in xz containers")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    config = CONFIGS["tiny"]
    model = load(options.model) if options.model else None
    vq = trained_vq(options.out, config) if model is None else model.star.pixel_encoder
    sharpener = begun(config, options.begin) if options.begin else None
    plan, trainer = plan_for(vq, config, options.minutes, options.rate, options.batch, sharpener, model)
    print(json.dumps(run_stage(plan, trainer, options.out, options.resume, options.seed)))
    folder = options.model or options.out / "model"
    export_decoder(options.out, folder, packed=options.packed)
    _mention(folder / "config.json", config)


def _mention(file: Path, config: StarConfig) -> None:
    """Put the decoder's row into a model's config, where one lies."""
    data = json.loads(file.read_text()) if file.exists() else {}
    if data:
        file.write_text(json.dumps(data | {"decoder": config.to_dict()["decoder"]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
