"""Pixels of a maze picture to its structure: which kind every cell is, tolerant of noise, blur and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from einops import rearrange, reduce
from PIL import Image as PILImage

from agents.tasks.maze_pictures import LOOKS, PALETTE, SHOWN_PX, TILES, board_offset, canvas_cells
from agents.tasks.maze_rules import FLOOR, MARGIN, UNREADABLE, Board, Cell
from unimm.document import Image

_SMALLEST_PX = 48
_LIGHT = len(PALETTE) - 2  # floor and margin are too near for single pixels: one class, told apart by their warmth over a whole cell
_NAMES = [*(name for name in PALETTE if name not in ("floor", "margin")), "light"]
_COLOURS = np.array([*(PALETTE[name] for name in _NAMES[:-1]), PALETTE["floor"], PALETTE["margin"]], np.float32)
_WARM = 5.0  # floor is 14 levels redder than blue, margin 0; clipped noise brings 14 down to 10
_FAR = 110.0  # a pixel this far from all colours has none of them
_AGREE = 0.6  # share of a zone's pixels that must have one colour


def _kind_table() -> np.ndarray:
    """[colour of the rim, colour of the middle] -> kind."""
    table = np.full((len(_NAMES), len(_NAMES)), UNREADABLE)
    for kind, looks in LOOKS.items():
        if kind != MARGIN:  # a light cell becomes floor or margin by its warmth
            rim, middle = (_NAMES.index("light" if name == "floor" else name) for name in looks)
            table[rim, middle] = kind
    return table


_KINDS = _kind_table()


@dataclass(frozen=True)
class Reading:
    """What a picture shows: the board (cells of kind -1 are unreadable), its size and place in cells, and marks outside of it.

    ``board`` is None where the picture is no maze picture at all (not square, or tiny).
    """

    board: Board | None
    n: int = 0
    offset: int = 0
    stray: tuple[Cell, ...] = ()

    @property
    def unreadable(self) -> tuple[Cell, ...]:
        rows = self.board.cells if self.board else ()
        return tuple((r, c) for r, row in enumerate(rows) for c, kind in enumerate(row) if kind == UNREADABLE)


def read(image: Image, n: int | None = None) -> Reading:
    """Read a picture drawn on our canvas; without ``n`` the size of the board is found from the white margin."""
    if image.width != image.height or image.width < _SMALLEST_PX:
        return Reading(None)
    size = canvas_cells(n) if n else round(image.width / SHOWN_PX)
    size = size if size in (8, 12, 16) else 8
    kinds = _cell_kinds(image, size)
    n = n or _board_size(kinds)
    at = board_offset(n)
    inside = kinds[at : at + n, at : at + n]
    outside = kinds.copy()
    outside[at : at + n, at : at + n] = MARGIN
    board = Board.of(np.where(inside == MARGIN, UNREADABLE, inside).tolist())
    return Reading(board, n, at, tuple((int(r), int(c)) for r, c in np.argwhere(outside != MARGIN)))


def _cell_kinds(image: Image, size: int) -> np.ndarray:
    """Kind of every canvas cell, [size, size], MARGIN for white and -1 for what looks like nothing."""
    side, half = size * SHOWN_PX, SHOWN_PX // 2
    pixels = np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)
    if image.width != side:
        pixels = np.asarray(PILImage.fromarray(pixels).resize((side, side), PILImage.Resampling.BOX))
    cells = rearrange(pixels, "(row y) (col x) rgb -> (row col) y x rgb", y=SHOWN_PX, x=SHOWN_PX)
    kinds = np.full(len(cells), UNREADABLE)
    for kind, tile in enumerate(TILES(SHOWN_PX)):  # most cells are exactly as drawn: only the others are looked at closely
        alike = np.flatnonzero((cells[:, 0, 0] == tile[0, 0]).all(-1) & (cells[:, half, half] == tile[half, half]).all(-1))
        kinds[alike[(cells[alike] == tile).all((1, 2, 3))]] = kind
    rest = np.flatnonzero(kinds == UNREADABLE)
    if len(rest):
        kinds[rest] = _look(cells[rest])
    return kinds.reshape(size, size)


def _look(cells: np.ndarray) -> np.ndarray:
    """Kinds of cells, uint8 [cell, y, x, rgb], by the majority of colours on the rim and in the middle."""
    nearest = _nearest(cells)
    q, edge = SHOWN_PX // 4, SHOWN_PX // 16  # a strip at every edge is left out: that is where blur mixes colours
    ring = np.zeros((SHOWN_PX, SHOWN_PX), bool)
    ring[edge:-edge, edge:-edge] = True
    ring[q - edge : edge - q, q - edge : edge - q] = False
    rim, rim_share = _majority(nearest[:, ring])
    middle, middle_share = _majority(rearrange(nearest[:, q + edge : -q - edge, q + edge : -q - edge], "cell y x -> cell (y x)"))
    kinds = np.where((rim_share >= _AGREE) & (middle_share >= _AGREE), _KINDS[rim, middle], UNREADABLE)
    warmth = reduce(cells[..., 0].astype(np.float32) - cells[..., 2], "cell y x -> cell", "mean")
    return np.where((kinds == FLOOR) & (warmth < _WARM), MARGIN, kinds)


def _nearest(cells: np.ndarray) -> np.ndarray:
    """Index into _NAMES of the palette colour nearest to every pixel, -1 where none is near."""
    flat = rearrange(cells, "cell y x rgb -> (cell y x) rgb").astype(np.float32)
    near = (_COLOURS**2).sum(1) - 2 * flat @ _COLOURS.T  # less the pixel's own square, which is the same for all colours
    far = near.min(1) + (flat**2).sum(1) > _FAR**2
    return np.where(far, -1, np.minimum(near.argmin(1), _LIGHT)).reshape(cells.shape[:-1])


def _majority(zone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[cell, pixel] colour indices -> the commonest one of each cell, and its share."""
    shares = np.stack([(zone == index).mean(-1) for index in range(len(_NAMES))], -1)
    return shares.argmax(-1), shares.max(-1)


def _board_size(kinds: np.ndarray) -> int:
    """The size whose square explains best which cells are margin."""
    size, drawn = len(kinds), kinds != MARGIN

    def misfit(n: int) -> int:
        square = np.zeros_like(drawn)
        at = (size - n) // 2
        square[at : at + n, at : at + n] = True
        return int((square != drawn).sum())

    return min(range(4 if size == 8 else size - 3, size + 1), key=misfit)
