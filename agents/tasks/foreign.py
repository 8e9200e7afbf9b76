"""Mazes in the Uni-MMMU benchmark's format: drawing them, reading and scoring them by its rules, fitting them to our canvas and back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image as PILImage

from agents.tasks.maze import Problem, paint, read
from agents.tasks.maze_pictures import PALETTE, SHOWN_PX, board_offset
from agents.tasks.maze_rules import AGENT, AGENT_ON_GOAL, FLOOR, GOAL, GREY, MOVES, TRAIL, UNREADABLE, WALL, Board
from unimm.document import Image
from unimm.errors import BadInput

SIDE, MARGIN_SHARE, CELLS = 539, 0.02, 6
Table = tuple[tuple[str, ...], ...]
"""What the benchmark's parser makes of a picture: rows of "#" wall, " " floor, "S" agent, "G" goal, "SG" both, "?" unknown."""

_TOLERANCE = 0.75
_CLASSES = ("floor", "wall", "agent", "goal")
_RED = (0xEF, 0x44, 0x44)  # the benchmark's colour of a drawn path; only used to find the board
_LETTERS = {WALL: "#", FLOOR: " ", GREY: " ", TRAIL: " ", AGENT: "S", GOAL: "G", AGENT_ON_GOAL: "SG", UNREADABLE: "?"}
_KINDS = {"#": WALL, " ": FLOOR, "S": AGENT, "G": GOAL, "SG": AGENT_ON_GOAL}
_ANSWER = re.compile(r"<ANSWER_JSON>\s*(\[.*?\])\s*</ANSWER_JSON>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Box:
    """The square of a picture that holds the board, in pixels; it may reach beyond the picture's edge."""

    left: int
    top: int
    side: int

    def edges(self, cells: int) -> tuple[list[int], list[int]]:
        """Pixel borders of the columns and of the rows, ``cells + 1`` of each."""
        lines = [round(i * self.side / cells) for i in range(cells + 1)]
        return [self.left + line for line in lines], [self.top + line for line in lines]


def draw(board: Board, side: int = SIDE) -> Image:
    """A board in the benchmark's looks: ``side`` px with a 2 % white margin; greying and trail are left out."""
    pixels = np.full((side, side, 3), PALETTE["margin"], np.uint8)
    margin = round(MARGIN_SHARE * side)
    columns, rows = Box(margin, margin, side - 2 * margin).edges(board.n)
    for r, row in enumerate(board.cells):
        for c, kind in enumerate(row):
            pixels[rows[r] : rows[r + 1], columns[c] : columns[c + 1]] = _tile(kind, columns[c + 1] - columns[c], rows[r + 1] - rows[r])
    return Image(side, side, pixels.tobytes())


def _tile(kind: int, width: int, height: int, colours: dict[str, tuple[int, int, int]] = PALETTE) -> np.ndarray:
    rim = {WALL: "wall", GOAL: "goal", AGENT_ON_GOAL: "goal"}.get(kind, "floor")
    middle = {WALL: "wall", AGENT: "agent", AGENT_ON_GOAL: "agent"}.get(kind, "floor")
    tile = np.empty((height, width, 3), np.uint8)
    tile[:] = colours[rim]
    x, y = round(width / 4), round(height / 4)
    tile[y : height - y, x : width - x] = colours[middle]
    return tile


def find_box(image: Image) -> Box:
    """Where the board is; raises ``BadInput`` where the picture shows nothing like one."""
    left, top, right, bottom = _content(image)
    return _square(left, top, right, bottom, image.width, image.height)


def _benchmark_box(image: Image) -> Box:
    """The box as the benchmark takes it: 2 px wider, and kept in the picture with width and height mistaken for each other.

    That mistake is why the benchmark fails on pictures that are far from square.
    """
    left, top, right, bottom = _content(image)
    left, top, right, bottom = max(left - 2, 0), max(top - 2, 0), min(right + 2, image.width), min(bottom + 2, image.height)
    return _square(left, top, right, bottom, image.height, image.width)


def _content(image: Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is dark or coloured: rows and columns with more than 0.3 % of such pixels."""
    pixels = _pixels(image)
    ink = _distance(pixels, [PALETTE["wall"], PALETTE["agent"], PALETTE["goal"], _RED])
    paper = _distance(pixels, [PALETTE["margin"], PALETTE["floor"]])
    content = ink.min(-1) + 0.01 < paper.min(-1)
    rows, columns = np.flatnonzero(content.mean(1) > 0.003), np.flatnonzero(content.mean(0) > 0.003)
    if not len(rows) or not len(columns):
        raise BadInput("No board was found in this picture. Use a picture of a maze with dark walls on a light ground.")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _square(left: int, top: int, right: int, bottom: int, width: int, height: int) -> Box:
    side = max(right - left, bottom - top)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    return Box(max(0, min(x, width - side)), max(0, min(y, height - side)), side)


def parse(image: Image, cells: int = CELLS, box: Box | None = None) -> Table:
    """Read a picture by the benchmark's rules, its box among them where none is given; an empty picture is all "?"."""
    try:
        box = box or _benchmark_box(image)
    except BadInput:
        return tuple(("?",) * cells for _ in range(cells))
    return _parse(image, box, cells)


def _parse(image: Image, box: Box, cells: int) -> Table:
    nearest = _distance(_pixels(image), [PALETTE[name] for name in _CLASSES]).argmin(-1)
    columns, rows = box.edges(cells)
    shares = np.zeros((cells, cells, len(_CLASSES)))
    for r in range(cells):
        for c in range(cells):
            part = nearest[max(rows[r], 0) : max(rows[r + 1], 0), max(columns[c], 0) : max(columns[c + 1], 0)]
            if part.size:
                shares[r, c] = np.bincount(part.ravel(), minlength=len(_CLASSES)) / part.size
    table = [[_letter(*share) for share in row] for row in shares.tolist()]
    for letter, other, index, least in (("S", "G", 2, 0.08), ("G", "S", 3, 0.25)):
        if not any(letter in value for row in table for value in row):
            r, c = divmod(int(shares[..., index].argmax()), cells)
            if shares[r, c, index] >= least:
                table[r][c] = "SG" if other in table[r][c] else letter
    return tuple(map(tuple, table))


def _letter(floor: float, wall: float, agent: float, goal: float) -> str:
    here, there = agent >= 0.25 * _TOLERANCE, goal >= 0.75 * _TOLERANCE
    if here or there:
        return "S" * here + "G" * there
    return "#" if wall >= _TOLERANCE else " " if floor >= _TOLERANCE else "?"


def _pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


def _distance(pixels: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Picture in bytes -> Euclidean distance of every pixel to every colour, on RGB in 0..1: [y, x, colour]."""
    values, goals = pixels.astype(np.float32) / 255, np.array(colours, np.float32) / 255
    squares = (values**2).sum(-1, keepdims=True) - 2 * values @ goals.T + (goals**2).sum(1)
    return np.sqrt(np.maximum(squares, 0))


# --- scores by the benchmark's rules


def answer_text(moves: Sequence[str]) -> str:
    """The answer line that the benchmark asks for."""
    return f"<ANSWER_JSON>{json.dumps(list(moves))}</ANSWER_JSON>"


def answered_moves(text: str) -> list[str]:
    """The moves of the last answer tag, lower case; empty where there is none or it holds no list."""
    found = _ANSWER.findall(text)
    try:
        moves = json.loads(found[-1]) if found else []
    except ValueError:
        return []
    return [str(move).strip().lower() for move in moves]


def text_scores(text: str, truth: Sequence[str]) -> tuple[bool, float]:
    """(whole answer right, share of right positions) of a text; extra moves break the first only."""
    moves, truth = answered_moves(text), [move.strip().lower() for move in truth]
    return moves == truth, sum(a == b for a, b in zip(moves, truth, strict=False)) / len(truth) if truth else 0.0


def expected_tables(start: Image, truth: Sequence[str], cells: int = CELLS) -> list[Table]:
    """The tables after each true move; a move into a wall or out of the board leaves the agent where it is."""
    table = parse(start, cells)
    marks = {letter: (r, c) for r, row in enumerate(table) for c, value in enumerate(row) for letter in value if letter in "SG"}
    agent, goal = marks.get("S"), marks.get("G")
    expected = []
    for move in truth:
        dr, dc = MOVES.get(move.strip().lower(), (0, 0))
        if agent:
            r, c = agent[0] + dr, agent[1] + dc
            agent = (r, c) if 0 <= r < cells and 0 <= c < cells and table[r][c] != "#" else agent
        expected.append(
            tuple(
                tuple(("S" * ((r, c) == agent) + "G" * ((r, c) == goal)) or ("#" if value == "#" else "?" if value == "?" else " ")
                      for c, value in enumerate(row))
                for r, row in enumerate(table)
            )
        )  # fmt: skip
    return expected


def picture_scores(frames: Sequence[Image], start: Image, truth: Sequence[str], cells: int = CELLS) -> tuple[bool, float]:
    """(exactly the right frames, share of right frames) of drawn pictures; extra frames break the first only."""
    expected = expected_tables(start, truth, cells)
    tables = [parse(frame, cells) for frame in frames]
    right = sum(a == b for a, b in zip(tables, expected, strict=False))
    return tables == expected, right / len(expected) if expected else 0.0


# --- onto our canvas and back


@dataclass(frozen=True)
class Fit:
    """How a foreign picture lies under our board: its board's box, and the start board as it was read."""

    image: Image
    box: Box
    board: Board

    @cached_property
    def colours(self) -> dict[str, tuple[int, int, int]]:
        """The palette as the foreign picture has it: medians over what the start board says is there."""
        pixels = _pixels(self.image)
        nearest = _distance(pixels, [PALETTE[name] for name in _CLASSES]).argmin(-1)
        columns, rows = self.box.edges(self.board.n)
        found: dict[str, list[np.ndarray]] = {name: [] for name in _CLASSES}
        for r, row in enumerate(self.board.cells):
            for c, kind in enumerate(row):
                name = {WALL: "wall", AGENT: "agent", GOAL: "goal"}.get(kind, "floor")
                part = np.s_[rows[r] : rows[r + 1], columns[c] : columns[c + 1]]
                found[name].append(pixels[part][nearest[part] == _CLASSES.index(name)])
        own = dict(PALETTE)
        for name, parts in found.items():
            values = np.concatenate(parts) if parts else np.empty((0, 3))
            if len(values):
                r, g, b = (int(value) for value in np.median(values, axis=0))
                own[name] = (r, g, b)
        return own


def fit(image: Image, cells: int = CELLS) -> tuple[Problem, Fit]:
    """A foreign start picture as a problem on our canvas; raises ``BadInput`` where it shows no board with a route."""
    box = find_box(image)
    table = _parse(image, box, cells)
    unknown = sum(value == "?" for row in table for value in row)
    if unknown:
        raise BadInput(f"{unknown} of the {cells * cells} cells of this picture cannot be read. Use a sharper square picture.")
    board = paint([[_KINDS[value] if value != "SG" else AGENT for value in row] for row in table]).board
    return Problem(board, f"maze-foreign-{image.hash[:12]}"), Fit(image, box, board)


def put_back(fit: Fit, drawn: Image | Board) -> Image:
    """Our drawing on the foreign picture, at its size, without greying and trail.

    Cells that show what they showed at the start keep the foreign picture's own pixels, bit for bit, and so does all around the board.
    Other cells are drawn in the foreign geometry with the foreign picture's colours; unreadable ones as our drawing shows them.
    """
    n = fit.board.n
    board = drawn if isinstance(drawn, Board) else read(drawn, n).board
    if board is None or board.n != n:
        raise BadInput(f"This drawing shows no {n} x {n} board. Draw it again.")
    pixels = _pixels(fit.image).copy()
    columns, rows = fit.box.edges(n)
    for r, (row, start) in enumerate(zip(board.cells, fit.board.cells, strict=True)):
        for c, kind in enumerate(row):
            if _LETTERS[kind] == _LETTERS[start[c]]:
                continue
            width, height = columns[c + 1] - columns[c], rows[r + 1] - rows[r]
            unread = kind == UNREADABLE and isinstance(drawn, Image)
            tile = _crop(drawn, r, c, n, width, height) if unread else _tile(kind, width, height, fit.colours)
            _paste(pixels, tile, columns[c], rows[r])
    return Image(fit.image.width, fit.image.height, pixels.tobytes())


def walk(fit: Fit, frames: Sequence[Image | Board]) -> list[Image]:
    """The benchmark's frames of a drawn solution: each put back, those left out that show nothing new (dead ends greyed)."""
    pictures = [put_back(fit, frame) for frame in frames]
    return [now for was, now in zip([fit.image, *pictures], pictures, strict=False) if now.rgb != was.rgb]


def _crop(drawn: Image, r: int, c: int, n: int, width: int, height: int) -> np.ndarray:
    """A cell of our own drawing at another size."""
    left, top = ((place + board_offset(n)) * SHOWN_PX for place in (c, r))
    cell = drawn.to_pil().crop((left, top, left + SHOWN_PX, top + SHOWN_PX))
    return np.asarray(cell.resize((width, height), PILImage.Resampling.NEAREST))


def _paste(pixels: np.ndarray, tile: np.ndarray, left: int, top: int) -> None:
    """Put a tile on a picture, cut off at the picture's edges."""
    x, y = max(-left, 0), max(-top, 0)
    target = pixels[top + y : top + tile.shape[0], left + x : left + tile.shape[1]]
    target[:] = tile[y : y + target.shape[0], x : x + target.shape[1]]
