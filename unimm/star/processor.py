"""What STAR reads: prompt rows, the edit block, rope positions and picture tensors, as the release makes them.

Everything here is a pure function over ids, sizes and pixels (fact sheet: star, sections 5 to 8). Rows of ids come in
pairs, conditional then unconditional.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image as PILImage
from torch import Tensor

from unimm.errors import BadInput

Grid = tuple[int, int, int]
"""Temporal, row and column counts of vision patches, before merging."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MIN_SIDE = 28
FULL_SIDE = 1024


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the marks in a row; the defaults are Qwen2.5-VL's."""

    im_start: int = 151644
    im_end: int = 151645
    vision_start: int = 151652
    vision_end: int = 151653
    vision_pad: int = 151654
    image_pad: int = 151655
    video_pad: int = 151656
    fim_pad: int = 151662
    newline: int = 198
    endoftext: int = 151643


@dataclass(frozen=True)
class Template:
    """The fixed ids around one user turn: ``head`` up to the user's words, ``tail`` from their end to the answer.

    The released slices are the lengths of these: 14 before, and 5 plus one picture start after.
    """

    special: SpecialIds = SpecialIds()
    head: tuple[int, ...] = (151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198, 151644, 872, 198)
    tail: tuple[int, ...] = (151645, 198, 151644, 77091, 198)

    def drawing_row(self, words: Sequence[int]) -> list[int]:
        """Conditional ids of a drawing: the user's words in their turn, then a picture's start."""
        return [*self.head, *words, *self.tail, self.special.vision_start]

    def reasoning_row(self, answer: Sequence[int], suffix: Sequence[int], words: Sequence[int] = ()) -> list[int]:
        """The released explicit rewrite: the base's answer and a fixed suffix stand in for the user's words.

        An empty answer falls back to the words themselves.
        """
        return self.drawing_row([*answer, *suffix] if answer else words)


def unconditional_row(row: Sequence[int], special: SpecialIds) -> list[int]:
    """The same length without the words: all but the first id and the last four become ``fim_pad``."""
    return [row[0], *[special.fim_pad] * (len(row) - 5), *row[-4:]]


def guidance_rows(row: Sequence[int], special: SpecialIds) -> Tensor:
    """A drawing row and its unconditional twin, [2, L]."""
    return torch.tensor([list(row), unconditional_row(row, special)])


@dataclass(frozen=True)
class EditRows:
    """Rows with the source picture's block inside; ``vq`` and ``vit`` say where its embeddings go."""

    ids: Tensor
    vq: slice
    vit: slice

    def with_drawn(self, count: int, special: SpecialIds) -> list[int]:
        """Ids of the conditional row followed by ``count`` placeholders of tokens to draw: what rope positions are made of."""
        return [*self.ids[0].tolist(), *[special.vision_pad] * count]


def insertion_index(row: Sequence[int], user_header: Sequence[int]) -> int:
    """Where the source picture goes: right after the first user header."""
    for start in range(len(row) - len(user_header) + 1):
        if list(row[start : start + len(user_header)]) == list(user_header):
            return start + len(user_header)
    raise BadInput("The prompt has no user turn to put the source picture into.")


def insert_source(rows: Tensor, at: int, vq_count: int, vit_count: int, special: SpecialIds) -> EditRows:
    """Put one source picture into every row [B, L] at index ``at``: its VQ tokens, then its vision tokens.

    Both are placeholders here; the model fills in the embeddings. The unconditional row sees the source too.
    """
    block = [
        special.vision_start, *[special.vision_pad] * vq_count, special.vision_end,
        special.vision_start, *[special.image_pad] * vit_count, special.vision_end, special.newline,
    ]  # fmt: skip
    ids = torch.cat([rows[:, :at], torch.tensor(block).expand(len(rows), -1), rows[:, at:]], 1)
    vq = slice(at + 1, at + 1 + vq_count)
    return EditRows(ids, vq, slice(vq.stop + 2, vq.stop + 2 + vit_count))


def rope_positions(row: Sequence[int], grids: Sequence[Grid], special: SpecialIds, merge: int = 2) -> tuple[Tensor, int]:
    """Released rope positions [3, L] (time, row, column) of one row of ids, and the offset of what follows it.

    A run of image placeholders after a picture's start is a grid: constant time, rows and columns counted from
    where it begins; what follows goes on after its longer side. Everything else, VQ tokens too, counts on in one
    line. ``grids`` are the pictures in order; the token at index i beyond the row stands at i + offset.
    """
    pictures, positions, at, place = list(grids), [], 0, 0
    while at < len(row):
        if row[at] != special.image_pad or at == 0 or row[at - 1] != special.vision_start:
            positions.append(torch.full((3, 1), place))
            at, place = at + 1, place + 1
            continue
        if not pictures:
            raise BadInput("The row holds more pictures than grids were given.")
        time, rows, columns = pictures[0][0], pictures[0][1] // merge, pictures[0][2] // merge
        count = time * rows * columns
        if list(row[at : at + count]) != [special.image_pad] * count:
            raise BadInput(f"A picture of {rows} x {columns} tokens does not fit its {special.image_pad} placeholders.")
        axes = torch.meshgrid(torch.zeros(time, dtype=torch.long), torch.arange(rows), torch.arange(columns), indexing="ij")
        positions.append(torch.stack([axis.flatten() for axis in axes]) + place)
        at, place, pictures = at + count, place + max(1, rows, columns), pictures[1:]
    if pictures:
        raise BadInput("More grids were given than the row holds pictures.")
    return torch.cat(positions, 1), place - len(row)


def at_least_min_side(picture: PILImage.Image, side: int = MIN_SIDE) -> PILImage.Image:
    """Scale a picture up so that neither side is below ``side`` pixels; larger ones come back as they are."""
    width, height = picture.size
    if width >= side and height >= side:
        return picture
    scale = max(side / height, side / width)
    return picture.resize((int(width * scale), int(height * scale)), PILImage.Resampling.LANCZOS)


def vq_pixels(picture: PILImage.Image, side: int) -> Tensor:
    """A picture squashed to ``side`` x ``side`` (aspect ratio not kept), [3, side, side] in [-1, 1].

    Also the transform of the diffusion decoder's source, at ``FULL_SIDE``.
    """
    resized = picture.convert("RGB").resize((side, side), PILImage.Resampling.BILINEAR)
    return (torch.from_numpy(rearrange(np.array(resized), "h w c -> c h w")).float() / 255 - 0.5) / 0.5


@dataclass(frozen=True)
class VisionSizes:
    """Patch geometry of Qwen's vision tower."""

    patch: int = 14
    merge: int = 2
    temporal: int = 2

    @property
    def unit(self) -> int:
        """Pixels per merged token along one side."""
        return self.patch * self.merge


def vision_size(height: int, width: int, unit: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Height and width in whole units, aspect ratio nearly kept, area within the limits: Qwen2-VL's rule."""
    if max(height, width) > 200 * min(height, width):
        raise BadInput("A picture more than 200 times as long as wide cannot be read. Crop it.")
    rows, columns = round(height / unit), round(width / unit)
    if rows * columns * unit**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows, columns = max(1, math.floor(height / shrink / unit)), max(1, math.floor(width / shrink / unit))
    elif rows * columns * unit**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = math.ceil(height * grow / unit), math.ceil(width * grow / unit)
    return rows * unit, columns * unit


def vision_patches(picture: PILImage.Image, min_pixels: int, max_pixels: int, sizes: VisionSizes = VisionSizes()) -> tuple[Tensor, Grid]:
    """A picture as the vision tower reads it: patches [n, 3 * temporal * patch^2] in merge order, and their grid."""
    height, width = vision_size(picture.height, picture.width, sizes.unit, min_pixels, max_pixels)
    resized = picture.convert("RGB").resize((width, height), PILImage.Resampling.BICUBIC)
    pixels = (np.array(resized, np.float64) * (1 / 255)).astype(np.float32)  # this order of rounding is the reference's
    pixels = (pixels - np.array(CLIP_MEAN, np.float32)) / np.array(CLIP_STD, np.float32)
    axes = {"p": sizes.patch, "q": sizes.patch, "m": sizes.merge, "n": sizes.merge}
    patches = rearrange(pixels, "(h m p) (w n q) c -> (h w m n) c p q", **axes)
    patches = repeat(patches, "s c p q -> s (c t p q)", t=sizes.temporal)
    return torch.from_numpy(patches), (1, height // sizes.patch, width // sizes.patch)
