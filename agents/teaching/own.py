"""Lessons from what the model drew itself: the files that ``python -m agents.mistakes`` writes."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from einops import reduce
from PIL import Image as PILImage

from agents.tasks.maze_pictures import canvas_cells, canvas_kinds
from agents.tasks.maze_reader import read as read_maze
from agents.tasks.maze_rules import FLOOR, GREY
from unimm.document import Image
from unimm.errors import BadInput
from unimm.star.inspector import DAMAGED, ENDED, MARKED, MISSED, OVERDONE, SEES, WHOLE
from unimm.train.data import IGNORED, Branch, Lesson

Row = Mapping[str, Any]
"""One drawing, as a line of a file: "task", "ask" (how its verdict is asked for), "words" (the program's verdict), "ok", the
pictures "before", "after" (the drawing) and "repaired" (None where it is right or not known), "wrong": the (row, column) of
every token that is not as in the repaired picture (None where that is not known), "places": all at which it is right to say that it is
wrong; of a figure "sights", what there is to see, and where, and "wear", how many percent of what makes it damaged every token has."""
TOKEN_PX = 16
SLOT_TOKENS = 2
"""Tokens along the side of a scene's slot."""
UNREADABLE = "unreadable"
DAMAGED_PICTURES = (UNREADABLE, "figure_changed")
"""Faults that a picture has whatever was due."""
IN_PART = 0.5
"""Share of the drawings for the inspector that cannot be read, and are put right in part."""
INHERITED = 0.3
"""Share of the damaged drawings for the inspector whose damage, or some of it, the picture before has already."""


@dataclass(frozen=True)
class Own:
    """Drawings of the model by task, wrong and right ones apart; ``share`` of the lessons are about them."""

    wrong: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    right: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    share: float = 0.0

    def understanding(self, rng: random.Random, task: str) -> Lesson | None:
        """Judge a drawing, as often a wrong as a right one; None where the turn is not theirs or there is none of the task."""
        kinds = [rows[task] for rows in (self.wrong, self.right) if rows.get(task)]
        return judged(rng.choice(rng.choice(kinds))) if kinds and self._turn(rng) else None

    def inspection(self, rng: random.Random, task: str) -> Lesson | None:
        """A drawing of which it is known where it is damaged, without words; None as above."""
        kinds = [[row for row in rows.get(task, ()) if _known(row)] for rows in (self.wrong, self.right)]
        kinds = [rows for rows in kinds if rows]
        return inspected(rng, rng.choice(rng.choice(kinds))) if kinds and self._turn(rng) else None

    def drawing(self, rng: random.Random, task: str) -> Lesson | None:
        """Put a wrong drawing right after its verdict; None as above."""
        rows = [row for row in self.wrong.get(task, ()) if row["repaired"] is not None]
        return revised(rng.choice(rows)) if rows and self._turn(rng) else None

    def _turn(self, rng: random.Random) -> bool:
        return self.share > 0 and rng.random() < self.share


def judged(row: Row) -> Lesson:
    """Before and drawing, the program's verdict, and which tokens of the drawing are wrong."""
    shown = np.stack([pixels(row["before"]), pixels(row["after"])])
    side = shown.shape[1] // TOKEN_PX
    faults = np.full((2, side, side), IGNORED)
    if row["wrong"] is not None:
        faults[1] = 0
        for r, c in row["wrong"]:
            faults[1, r, c] = 1
    return Lesson(shown, (0,), (Branch(row["ask"], row["words"], shows=(1,)),), faults=faults.reshape(2, side * side))


def inspected(rng: random.Random, row: Row) -> Lesson:
    """Before and drawing, and what the inspector is to see in it.

    IN_PART of those that cannot be read have some tokens as they should be: what is left of the faults, and of the blemishes that are none,
    can then stand alone. A figure may be new in these, too. INHERITED of the damaged
    ones are damaged before already.
    """
    shown, seen = _mended_in_part(rng, row, np.stack([pixels(row["before"]), pixels(row["after"])]))
    if row["fault"] in DAMAGED_PICTURES and rng.random() < INHERITED:
        share = rng.random()
        old = (seen == DAMAGED) & np.array([[rng.random() < share for _ in line] for line in seen])
        shown[0] = np.where(_of_tokens(old), shown[1], shown[0])
    return pair(shown, seen, np.array(row["wear"]) if row.get("wear") else None)


def _mended_in_part(rng: random.Random, row: Row, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of a row, of those that cannot be read some with a part that is as it should be, and what there is to see."""
    seen = _seen(row, shown.shape[1] // TOKEN_PX)
    if row["repaired"] is None:
        return shown, seen
    due = pixels(row["repaired"])
    if row["task"] == "maze":
        drawn, right = (maze_kinds(picture, len(row["problem"]["rows"])) for picture in (shown[1], due))
        seen = np.where(seen == WHOLE, WHOLE, missed_or_overdone(drawn, right))
    if row["fault"] == UNREADABLE and rng.random() < IN_PART:
        share, slot = rng.random(), SLOT_TOKENS if row["task"] == "compose" else 1
        mended = np.array([[rng.random() < share for _ in line[::slot]] for line in seen[::slot]]).repeat(slot, 0).repeat(slot, 1)
        left = IGNORED if row["task"] == "geometry" else WHOLE
        shown[1], seen = np.where(_of_tokens(mended), due, shown[1]), np.where(mended, left, seen)
    return shown, seen


def _of_tokens(chosen: np.ndarray) -> np.ndarray:
    """Pixels [H, W, 1] of the chosen tokens [side, side]."""
    return chosen.repeat(TOKEN_PX, 0).repeat(TOKEN_PX, 1)[..., None]


def maze_kinds(picture: np.ndarray, n: int) -> np.ndarray:
    """What every token of a maze's canvas [H, W, 3] holds, as the program reads the board: kinds of cells [side, side]."""
    board = read_maze(Image(*picture.shape[1::-1], picture.tobytes()), n).board
    assert board is not None  # a canvas is square and large enough
    return np.array(canvas_kinds(board)).reshape(canvas_cells(n), canvas_cells(n))


def missed_or_overdone(shown: np.ndarray, due: np.ndarray) -> np.ndarray:
    """What a wrong cell is, from the kinds of maze cells: a dead end that was missed, one that is none, or anything else."""
    return np.where((due == GREY) & (shown == FLOOR), MISSED, np.where((due == FLOOR) & (shown == GREY), OVERDONE, DAMAGED))


def _known(row: Row) -> bool:
    """Whether it is known what the inspector is to see in a drawing: in a maze it lies in the pictures, once it is known what is right."""
    return row["wrong"] is not None if row["task"] == "maze" else ("sights" if row["task"] == "geometry" else "places") in row


def _seen(row: Row, side: int) -> np.ndarray:
    """What the inspector is to see in a drawing [side, side]; in a maze all that is wrong, as damage."""
    if row["task"] == "geometry":
        return seen_at(row["sights"], side)
    found = slot_tokens(row["places"] if row["fault"] == UNREADABLE else ()) if row["task"] == "compose" else row["wrong"]
    return tokens_at({"damaged": found}, side)


def seen_at(sights: Mapping[str, Iterable[Sequence[int]]], side: int) -> np.ndarray:
    """What there is to see at the lower right corners of tokens; what is wrong hides what is new, and the end of a line a mark."""
    return tokens_at({kind: [(row - 1, column - 1) for row, column in corners] for kind, corners in sights.items()}, side)


def tokens_at(found: Mapping[str, Iterable[Sequence[int]]], side: int) -> np.ndarray:
    """What tokens show [side, side], by kind (of SEES); those that are not named are whole."""
    seen = np.full((side, side), WHOLE)
    for kind in (MARKED, ENDED, OVERDONE, MISSED, DAMAGED):
        for r, c in found.get(SEES[kind], ()):
            seen[r, c] = kind
    return seen


def slot_tokens(slots: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """The tokens of slots of a scene."""
    tokens = list(product(range(SLOT_TOKENS), repeat=2))
    return [(SLOT_TOKENS * r + dr, SLOT_TOKENS * c + dc) for r, c in slots for dr, dc in tokens]


def pair(shown: np.ndarray, seen: np.ndarray, wear: np.ndarray | None = None) -> Lesson:
    """A lesson for the inspector: a picture and one after it [2, H, W, 3], without words, and what it is to see in the second
    [side, side], with its wear in percent [cells] where that is known."""
    nothing = np.full(seen.size, IGNORED)
    worn = None if wear is None else np.stack([nothing, wear])
    return Lesson(shown, (0,), (Branch("", "", shows=(1,)),), faults=np.stack([nothing, seen.ravel()]), wear=worn)


def revised(row: Row) -> Lesson:
    """A wrong drawing and its verdict; what is to be drawn is the repaired picture."""
    shown = np.stack([pixels(row[name]) for name in ("before", "repaired", "after")])
    return Lesson(shown, (0,), (Branch(row["ask"], row["words"], shows=(2,), draws=True, source=2, target=1),))


def read(files: Iterable[Path], share: float) -> Own:
    """The drawings in files; raises ``BadInput`` where there is none in them, or a share that is none."""
    if not 0 <= share <= 1:
        raise BadInput(f"own_share is a share of the lessons, 0 to 1, not {share!r}.")
    found: dict[bool, dict[str, list[Row]]] = {False: {}, True: {}}
    for row in (row for file in files for row in lines(file) if "after" in row):
        found[row["ok"]].setdefault(row["task"], []).append(row)
    if share and not (found[False] or found[True]):
        raise BadInput("There are no drawings to learn from. Collect some with python -m agents.mistakes, or set own_share to 0.")
    return Own(found[False], found[True], share)


def lines(file: Path) -> list[Row]:
    """What a file holds, without a last line that was cut while it was written; raises ``BadInput`` for other files."""
    try:
        rows = [json.loads(line) for line in whole_lines(file.read_bytes()).splitlines()]
        if all(isinstance(row, dict) and {"task", "tally"} <= set(row) for row in rows):
            return rows
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} is not readable as a file of drawings. Write one with python -m agents.mistakes.") from error
    raise BadInput(f"{file} is no file of drawings. Write one with python -m agents.mistakes.")


def whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def canvas(image: Image) -> np.ndarray:
    """A shown picture as the model sees it: every pixel the mean of 2x2, uint8 [H / 2, W / 2, 3]."""
    shown = np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)
    return np.rint(reduce(shown.astype(np.float32), "(r y) (c x) rgb -> r c rgb", "mean", y=2, x=2)).astype(np.uint8)


def packed(image: Image) -> str:
    """The canvas of a shown picture as base64 of a PNG file."""
    small = canvas(image)
    return base64.b64encode(Image(small.shape[1], small.shape[0], small.tobytes()).to_png()).decode()


def pixels(text: str) -> np.ndarray:
    """Inverse of ``packed``."""
    return np.asarray(PILImage.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))
