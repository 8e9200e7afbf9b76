"""What the model is taught with: endless random pictures and lessons of all tasks, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from agents.doodles import doodle
from agents.teaching import compose, geometry, maze
from agents.teaching.own import Own
from unimm.train.data import IGNORED, Batch, Lesson, Teacher
from unimm.train.understanding import STATES

TASKS: Mapping[str, tuple[ModuleType, int]] = {"maze": (maze, 96), "geometry": (geometry, 16), "compose": (compose, 192)}
"""Task -> its lessons, and the number from which its kinds of cell are counted, so that one head can name them all."""
REASONED, WORDS_ALONE = ("geometry", "compose"), 0.42
"""Tasks whose thoughts begin with what is seen, and the share of their lessons that practise the rest on words alone: most of a
thought is a matter of words, and without the pictures such a lesson holds several problems."""
NO_PICTURES = np.zeros((0, 128, 128, 3), np.uint8)
NAMED_SIDES = (8, 12)
"""Sides in tokens of the pictures whose tokens are taught names."""


def named(teacher: Teacher) -> dict[int, Tensor]:
    """Tokens of a picture -> the ids of the words for what each shows and for its place, [STATES, tokens, n], padded with IGNORED."""
    return {side**2: _named(teacher, side) for side in NAMED_SIDES}


def _named(teacher: Teacher, side: int) -> Tensor:
    table = torch.full((STATES, side**2, 4), IGNORED)
    for lessons, offset in TASKS.values():
        for state, cell, words in lessons.named(side):
            ids = teacher.encode(" ".join(words))
            table[offset + state, cell, : len(ids)] = torch.tensor(ids)
    return table


class _Endless(IterableDataset):
    def __init__(self, make: Callable[[int], Iterator[Any]], seed: int) -> None:
        self.make, self.seed = make, seed

    def __iter__(self) -> Iterator[Any]:
        return self.make(self.seed)


def stream(make: Callable[[int], Iterator[Any]], seed: int) -> Iterator[Any]:
    """Run a generator ``make(seed)`` in a process of its own, a few batches ahead of the training."""
    return iter(DataLoader(_Endless(make, seed), batch_size=None, num_workers=1, prefetch_factor=4))


Shares = Mapping[str, float]
"""Task -> how often its lessons come, in any unit."""


def picture_batches(seed: int, shares: Shares, size: int = 32, split: str = "train") -> Iterator[np.ndarray]:
    """For the VQ: uint8 [size, 128, 128, 3], pictures of all tasks, right and wrong ones, and doodles ("doodle" in the shares)."""
    rng = random.Random(f"pictures:{split}:{seed}")
    while True:
        names = rng.choices(list(shares), list(shares.values()), k=size)
        yield np.stack([doodle(rng) if name == "doodle" else TASKS[name][0].picture(rng, split) for name in names])


def understanding_lessons(seed: int, shares: Shares, split: str = "train", own: Own = Own()) -> Iterator[Lesson]:
    """Endless lessons for stage 2, a share of them about the model's ``own`` drawings, and WORDS_ALONE of them without pictures."""
    rng = random.Random(f"understanding:{split}:{seed}")
    while True:
        name = rng.choices(list(shares), list(shares.values()))[0]
        lessons, offset = TASKS[name]
        if name in REASONED and rng.random() < WORDS_ALONE:
            yield Lesson(NO_PICTURES, (), tuple(lessons.reasoning(rng, split) for _ in range(4)))
            continue
        yield _counted(own.understanding(rng, name) or lessons.understanding(rng, split), offset)


def inspection_lessons(seed: int, shares: Shares, split: str = "train", own: Own = Own()) -> Iterator[Lesson]:
    """Endless pairs of a picture and one after it that may be damaged, without words: what the inspector learns from, a share of them the
    model's ``own`` drawings."""
    rng = random.Random(f"inspection:{split}:{seed}")
    while True:
        name = rng.choices(list(shares), list(shares.values()))[0]
        yield own.inspection(rng, name) or TASKS[name][0].inspection(rng, split)


def _counted(lesson: Lesson, offset: int) -> Lesson:
    """The lesson with its kinds of cell counted on from those of the tasks before."""
    if lesson.states is None:
        return lesson
    return replace(lesson, states=np.where(lesson.states == IGNORED, IGNORED, lesson.states + offset))


def drawing_lessons(seed: int, shares: Shares, editing: bool, split: str = "train", own: Own = Own()) -> Iterator[Lesson]:
    """Endless lessons for stages 3 (``editing`` off) and 4, where a share puts the model's ``own`` drawings right."""
    rng = random.Random(f"drawing:{split}:{editing}:{seed}")
    while True:
        name = rng.choices(list(shares), list(shares.values()))[0]
        lessons, offset = TASKS[name]
        yield _counted((own.drawing(rng, name) if editing else None) or lessons.drawing(rng, split, editing), offset)


def batches(lessons: Iterator[Lesson], teacher: Teacher, size: int, forgotten: float = 0.0, seed: int = 0) -> Iterator[Batch]:
    """Endless batches of ``size`` lessons of about one length; the words of a share of them are padded out, for guidance."""
    rng, waiting = random.Random(f"batches:{seed}"), list[Lesson]()
    while True:
        full, waiting = _alike(rng, [*waiting, *islice(lessons, 8 * size)], size)
        for alike in full:
            yield teacher.batch(alike, [rng.random() < forgotten for _ in alike])


def _length(lesson: Lesson) -> int:
    cells = (lesson.pictures.shape[1] // 16) ** 2
    return sum(
        (cells + 6) * len(branch.shows) + sum(len(text.split()) for text in (branch.ask, branch.told, branch.reply))
        for branch in lesson.branches
    )


def _alike(rng: random.Random, lessons: list[Lesson], size: int) -> tuple[list[list[Lesson]], list[Lesson]]:
    """Batches of lessons of one size of picture and about one length, in random order, and the lessons that fill no batch.

    Larger pictures come in smaller batches. A step on one or two lessons would be all noise: these wait for others of their size.
    """
    batches, left = [], []
    for alike in same_size(lessons):
        few = max(1, size * 128**2 // alike[0].pictures.shape[1] ** 2)
        rng.shuffle(alike)
        whole = len(alike) // few * few
        left += alike[whole:]
        alike = sorted(alike[:whole], key=_length)
        batches += [alike[at : at + few] for at in range(0, whole, few)]
    rng.shuffle(batches)
    return batches, left


def same_size(lessons: Iterable[Lesson]) -> list[list[Lesson]]:
    """The lessons apart by the size and number of their pictures, small ones first: none is filled up with pictures that nobody sees."""
    sizes: dict[tuple[int, int], list[Lesson]] = {}
    for lesson in lessons:
        sizes.setdefault((lesson.pictures.shape[1], len(lesson.pictures)), []).append(lesson)
    return [sizes[key] for key in sorted(sizes)]
