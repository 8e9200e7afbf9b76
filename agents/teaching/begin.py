"""What a stage of training begins with: a finished model, what earlier stages left, codes that come into use, and what codes look like."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch

from agents import lessons
from unimm.star.model import Star, is_base, pictures_to_pixels
from unimm.star.vq import NOWHERE
from unimm.train.codes import more_codes
from unimm.train.drawing import trains_drawing
from unimm.train.inspection import trains_inspection
from unimm.train.vq import drop_twins
from unimm.weights import load_sharded

CODES_FROM = 500
"""Batches of pictures that codes which come into use later get their places from."""
LOOKED_AT = 300
"""Batches of pictures from which the change head learns what codes look like."""


def learn_looks(star: Star, shares: lessons.Shares) -> None:
    """Unless it has learnt them: they go with the codes, which stand still from the first drawing stage on."""
    if star.config.change_head and not star.pixel_change_head.looks.any():
        pictures = islice(lessons.picture_batches(2, shares), LOOKED_AT)
        star.pixel_change_head.set_looks(star.pixel_encoder, (pictures_to_pixels(torch.as_tensor(batch)) for batch in pictures))


def carry_over(star: Star, out: Path, stages: list[str]) -> list[str]:
    """Take the parts that earlier ``stages`` trained from their checkpoints in ``out``; returns the stages found."""
    found = []
    for earlier in stages:
        checkpoint = out / f"{earlier}.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)["module"]
            star.load_state_dict(_own_part(earlier, state), strict=False)
            if earlier == "vq":
                drop_twins(star.pixel_encoder.quantize.embedding.weight)
            found.append(earlier)
    return found


OF_CODES = {"pixel_encoder.quantize.embedding.weight": NOWHERE, "pixel_output_head.weight": 0.0, "pixel_output_head.bias": 0.0,
            "pixel_change_head.looks": 0.0}  # fmt: skip
"""What has a row a code, and what stands there for a code that is not in use."""


def begin_with(star: Star, folder: Path) -> list[str]:
    """Take over all parts of a finished model, of which codes may be fewer; returns what it did not have."""
    state = {name: value.float() for name, value in load_sharded(folder).items()}
    for name in OF_CODES.keys() & state.keys():
        state[name] = more_rows(state[name], star.config.vq.codebook_size, OF_CODES[name])
    return star.load_state_dict(state, strict=False).missing_keys


def more_rows(table: torch.Tensor, rows: int, value: float) -> torch.Tensor:
    more = table.new_full((max(0, rows - len(table)), *table.shape[1:]), value)
    return torch.cat([table, more])


def use_all_codes(star: Star, shares: lessons.Shares) -> int:
    """Give codes out of use their places (``unimm.train.codes``) and all codes their looks anew; returns how many came into use.

    With codes that are many more than before, the VQ's decoder (stage ``vq_decoder``) and the stack have to learn what these stand for.
    """
    found = more_codes(star.pixel_encoder, islice(lessons.picture_batches(78, shares), CODES_FROM))
    if star.config.change_head:
        star.pixel_change_head.looks.zero_()
    return found


def _own_part(stage: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a stage's checkpoint adds to the network, under the network's own names."""
    if stage.startswith("vq"):
        return {f"pixel_encoder.{name.removeprefix('vq.')}": value for name, value in state.items() if name.startswith("vq.")}
    own = {name.removeprefix("star."): value for name, value in state.items() if name.startswith("star.")}
    if stage == "understanding":
        return {name: value for name, value in own.items() if is_base(name)}
    if stage == "inspection":
        return {name: value for name, value in own.items() if trains_inspection(name)}
    return {name: value for name, value in own.items() if trains_drawing(name)}
