"""Lessons: pictures with questions and replies, laid out as training sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from unimm.star.config import StarConfig
from unimm.star.layout import SEEN, SOURCE, Layout
from unimm.star.tokenizer import SPECIAL

IGNORED = -100
HEAVY_WEIGHT = 5.0
"""Weight of a reply's first token, of DECISIVE words wherever they stand, and of what follows a LEADING one: much hangs on them."""
ABOUT = 2
"""Words that say what belongs to one cell, at most: the two ends of a line."""
DECISIVE = ("correct", "wrong", "yes", "no", "other", "none", "not", "first", "second", "third", "last", "same", "new", "gone", "changed",
            "straight", "slanted", "colour", "shape", "size")  # fmt: skip
"""Words that say what was found out about a picture or a thing in it; the others mostly follow from these."""
LEADING = ("to", "mark", "connect", "go", "plan", "clear")
"""Words behind which stands what is to be done: it decides as much, and where it is a place its name can be any of many."""


@dataclass(frozen=True)
class Branch:
    """One question and its reply; branches of a lesson share the pictures before them and do not see each other.

    ``told`` is how the reply begins where that is not to be learnt: a reply about words alone can start from what would be seen.
    ``shows`` are further pictures (indices into the lesson's) placed before the words, ``draws`` says that the reply
    ends by opening a picture, ``alone`` that the question comes without the shared pictures. ``source`` and ``target``
    are the pictures that a drawing lesson redraws and should arrive at; -1 where there is none.
    """

    ask: str
    reply: str
    shows: tuple[int, ...] = ()
    draws: bool = False
    alone: bool = False
    told: str = ""
    source: int = -1
    target: int = -1


@dataclass(frozen=True)
class Lesson:
    """``pictures`` are uint8 [k, H, W, 3], none where all is words; ``shared`` the pictures every branch sees first.

    ``states`` and ``faults`` [k, cells] are optional labels of every cell, for heads that exist in training only:
    what the cell holds, and whether it is wrong (1), right (0) or not judged (IGNORED); ``wear`` [k, cells] says by how many percent of
    what makes it damaged it is worn, IGNORED where nobody knows. ``about`` are (cell, word, (rows, columns)) for
    cells that are to be drawn and the words of the thought that say what belongs there, at most ABOUT a cell; rows and columns lead
    from the middle of the cell to the place that the word names, in sides of a cell.
    """

    pictures: np.ndarray
    shared: tuple[int, ...]
    branches: tuple[Branch, ...]
    states: np.ndarray | None = None
    faults: np.ndarray | None = None
    wear: np.ndarray | None = None
    about: tuple[tuple[int, str, tuple[float, float]], ...] = ()


@dataclass(frozen=True)
class Batch:
    """Laid out lessons, padded to one length; see ``Layout`` for the fields [B, L] and ``position`` [3, B, L].

    ``about`` [B, cells, ABOUT] are the positions of the words that a cell to be drawn goes by, -1 for none, and ``offsets``
    [B, cells, ABOUT, 2] the rows and columns from the cell to what they name.
    """

    pictures: Tensor
    ids: Tensor
    kind: Tensor
    slot: Tensor
    cell: Tensor
    segment: Tensor
    position: Tensor
    labels: Tensor
    weights: Tensor
    states: Tensor
    faults: Tensor
    wear: Tensor
    sources: Tensor
    targets: Tensor
    about: Tensor
    offsets: Tensor

    @property
    def columns(self) -> int:
        return self.pictures.shape[3] // 16


class Teacher:
    """Turns lessons into batches for one configuration and tokenizer."""

    def __init__(self, config: StarConfig, tokenizer: Tokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.special = {token: tokenizer.token_to_id(token) for token in SPECIAL}
        self.heavy, self.leading = ({self.encode(word)[0] for word in words} for words in (DECISIVE, LEADING))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def lay_out(self, lesson: Lesson, forget: bool = False) -> tuple[Layout, dict[int, int], dict[int, float], tuple[int, int]]:
        """The sequence of a lesson, what each position should say (position -> id), its weight, and the
        pictures (source, target) of its drawing, -1 for none.

        ``forget`` pads the words out, as the unconditional row of guidance does.
        """
        start, end, open_, close = (self.special[f"<|{name}|>"] for name in ("im_start", "im_end", "vision_start", "vision_end"))
        cells = (lesson.pictures.shape[1] // 16) * (lesson.pictures.shape[2] // 16)
        layout = Layout(lesson.pictures.shape[2] // 16, self.config.grid_stride)
        labels: dict[int, int] = {}
        weights: dict[int, float] = {}

        def show(number: int) -> None:
            layout.text([open_])
            layout.picture(SEEN, number * cells, cells)
            layout.text([close])

        layout.text([start])
        begin = layout.time
        for number in lesson.shared:
            show(number)
        shared, drawing = layout.time, (-1, -1)
        for index, branch in enumerate(lesson.branches, 1):
            layout.branch, layout.time = (-index if branch.alone else index), (begin if branch.alone else shared)
            for number in branch.shows:
                show(number)
            told, reply = self.encode(branch.told), self.encode(branch.reply)
            words = [*self.encode(branch.ask), end, *told, *reply, open_ if branch.draws else end]
            first = len(layout) + len(words) - 1 - len(reply) - 1
            layout.text([self.special["<|fim_pad|>"]] * (len(words) - 1) + words[-1:] if forget else words)
            if not forget:
                for place in range(first, len(layout) - 1):
                    labels[place] = layout.ids[place + 1]
                    heavy = place == first or labels[place] in self.heavy or layout.ids[place] in self.leading
                    weights[place] = HEAVY_WEIGHT if heavy else 1.0
            if branch.target >= 0:
                drawing = (branch.source, branch.target)
                if branch.source >= 0:
                    layout.picture(SOURCE, branch.source * cells, cells)
                layout.canvas(close, branch.target * cells, cells)
        return layout, labels, weights, drawing

    def batch(self, lessons: Sequence[Lesson], forget: Iterable[bool] | None = None) -> Batch:
        """Lay out and pad; padding stands in a segment that nothing sees."""
        skips = list(forget) if forget is not None else [False] * len(lessons)
        laid = [self.lay_out(lesson, skip) for lesson, skip in zip(lessons, skips, strict=True)]
        length = max(len(layout) for layout, *_ in laid)
        shape = (len(lessons), length)
        fields = {name: torch.zeros(shape, dtype=torch.long) for name in ("ids", "kind", "slot", "segment")}
        fields["cell"] = torch.full(shape, -1)
        fields["segment"].fill_(1000)
        position = torch.zeros(3, *shape, dtype=torch.long)
        labels, weights = torch.full(shape, IGNORED), torch.zeros(shape)
        for row, (layout, says, counts, _) in enumerate(laid):
            arrays = layout.arrays()
            for name, values in fields.items():
                values[row, : len(layout)] = torch.from_numpy(arrays[name])
            position[:, row, : len(layout)] = torch.from_numpy(arrays["position"].T.copy())
            labels[row, list(says)] = torch.tensor(list(says.values()), dtype=torch.long)
            weights[row, list(counts)] = torch.tensor(list(counts.values()))
        most = max(len(lesson.pictures) for lesson in lessons)
        pictures = np.stack([_filled(lesson.pictures, most) for lesson in lessons])
        cells = (pictures.shape[2] // 16) * (pictures.shape[3] // 16)
        nothing = np.full((1, cells), IGNORED)

        def marks(name: str) -> Tensor:
            parts = (getattr(lesson, name) for lesson in lessons)
            return torch.from_numpy(np.stack([_filled(nothing[:most] if part is None else part, most, IGNORED) for part in parts])).long()

        about, offsets = torch.full((len(lessons), cells, ABOUT), -1), torch.zeros(len(lessons), cells, ABOUT, 2)
        for row, (lesson, (layout, *_)) in enumerate(zip(lessons, laid, strict=True)):
            last = {token: place for place, token in enumerate(layout.ids)}  # a thought ends with what is to be drawn
            for cell, word, offset in lesson.about:
                (token,) = self.encode(word)
                free = int((about[row, cell] >= 0).sum())
                if token in last:  # a forgotten thought names nothing
                    about[row, cell, free], offsets[row, cell, free] = last[token], torch.tensor(offset)
        sources, targets = torch.tensor([drawing for *_, drawing in laid]).T
        return Batch(torch.from_numpy(pictures), position=position, labels=labels, weights=weights, states=marks("states"),
                     faults=marks("faults"), wear=marks("wear"), sources=sources, targets=targets, about=about, offsets=offsets,
                     **fields)  # fmt: skip


def _filled(rows: np.ndarray, most: int, value: int = 0) -> np.ndarray:
    if len(rows) == most:
        return rows
    return np.concatenate([rows, np.full((most - len(rows), *rows.shape[1:]), value, rows.dtype)])


def branch_mask(segment: Tensor) -> Tensor:
    """Additive mask [B, 1, L, L]: a position sees the shared part (segment 0) and its own branch, never what comes later.

    A lone branch (negative segment) sees of the shared part only the very first token.
    """
    length = segment.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    query, key = segment[:, :, None], segment[:, None, :]
    first = torch.arange(length, device=segment.device) == 0
    visible = earlier & ((query == key) | ((key == 0) & (query >= 0)) | first)
    return torch.zeros(visible.shape, device=segment.device).masked_fill(~visible, torch.finfo(torch.float32).min)[:, None]
