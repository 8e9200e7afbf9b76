"""Maze boards as pixels, and pixels as maze boards."""

from __future__ import annotations

from functools import cache

import numpy as np
from einops import rearrange

from agents.tasks.maze_rules import AGENT, AGENT_ON_GOAL, FLOOR, GOAL, GREY, MARGIN, TRAIL, WALL, Board
from unimm.document import Image

PALETTE: dict[str, tuple[int, int, int]] = {
    "wall": (0x1F, 0x29, 0x37),
    "floor": (0xF4, 0xEF, 0xE6),
    "grey": (0x9C, 0xA3, 0xAF),
    "trail": (0x93, 0xC5, 0xFD),
    "agent": (0x25, 0x63, 0xEB),
    "goal": (0x22, 0xC5, 0x5E),
    "margin": (0xFF, 0xFF, 0xFF),
}
CELL_PX = 16
SHOWN_PX = 32
LOOKS: dict[int, tuple[str, str]] = {  # kind -> colour of the rim, colour of the half-cell square in the middle
    WALL: ("wall", "wall"),
    FLOOR: ("floor", "floor"),
    GREY: ("grey", "grey"),
    TRAIL: ("floor", "trail"),
    AGENT: ("floor", "agent"),
    GOAL: ("goal", "floor"),
    AGENT_ON_GOAL: ("goal", "agent"),
    MARGIN: ("margin", "margin"),
}


def canvas_cells(n: int) -> int:
    """Side of the canvas in cells for a board of n x n: 8, 12 or 16."""
    return 8 if n <= 8 else 12 if n <= 12 else 16


def board_offset(n: int) -> int:
    """Where the board begins on its canvas, in cells, on both axes."""
    return (canvas_cells(n) - n) // 2


@cache
def TILES(cell_px: int = CELL_PX) -> np.ndarray:
    """How each kind looks: uint8 [8, cell_px, cell_px, 3], read-only; ``cell_px`` is a multiple of 4."""
    tiles = np.empty((8, cell_px, cell_px, 3), np.uint8)
    q = cell_px // 4
    for kind, (rim, middle) in LOOKS.items():
        tiles[kind] = PALETTE[rim]
        tiles[kind, q : cell_px - q, q : cell_px - q] = PALETTE[middle]
    tiles.flags.writeable = False
    return tiles


def canvas_kinds(board: Board) -> tuple[int, ...]:
    """The whole canvas cell by cell in raster order, MARGIN outside the board: canvas_cells(n) ** 2 kinds."""
    n = board.n
    size, at = canvas_cells(n), board_offset(n)
    empty = (MARGIN,) * size
    left, right = (MARGIN,) * at, (MARGIN,) * (size - at - n)
    kinds: list[int] = [*empty * at]
    for row in board.cells:
        kinds += left
        kinds += row
        kinds += right
    kinds += empty * (size - at - n)
    return tuple(kinds)


def render_cells(board: Board, cell_px: int = CELL_PX) -> np.ndarray:
    """The canvas as the model works on it: uint8 [size, size, 3] with size = canvas_cells(n) * cell_px."""
    size = canvas_cells(board.n)
    kinds = np.array(canvas_kinds(board)).reshape(size, size)
    return rearrange(TILES(cell_px)[kinds], "row col y x rgb -> (row y) (col x) rgb")


def render(board: Board) -> Image:
    """The picture that is shown and judged: 256 px for boards up to 8x8 (384 up to 12x12, 512 up to 16x16)."""
    pixels = render_cells(board, SHOWN_PX)
    return Image(pixels.shape[1], pixels.shape[0], pixels.tobytes())
