"""Pictures that visitors bring: opened with care, and read as a board where they show one."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import replace

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from agents.tasks import foreign, maze, scene
from unimm.document import Image
from unimm.errors import BadInput

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 10 * 2**20
MAX_PIXELS = 16_000_000
SIDE = 640
_SMALL = 288  # px a side are enough to tell boards of 4 to 16 cells apart
_LETTERS = {"#": maze.WALL, "S": maze.AGENT, "G": maze.GOAL, "SG": maze.AGENT_ON_GOAL}
_PLAIN = {maze.GREY: maze.FLOOR, maze.TRAIL: maze.FLOOR}


def open_picture(data: bytes) -> Image:
    """Decode an uploaded PNG, JPEG or WebP picture, upright and at most 640 px a side.

    Raises ``BadInput`` for what is too large in bytes or pixels (known from the header, before anything is unfolded),
    for other formats, animations and truncated files.
    """
    if not data:
        raise BadInput("This file is empty. Choose a PNG, JPEG or WebP picture.")
    if len(data) > MAX_BYTES:
        raise BadInput(f"This picture is larger than {MAX_BYTES // 2**20} MB. Choose a smaller one.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            picture = PILImage.open(io.BytesIO(data), formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise BadInput(f"This picture has more than {MAX_PIXELS // 10**6} megapixels. Choose a smaller one.")
            if getattr(picture, "n_frames", 1) > 1:
                raise BadInput("This picture is animated. Save one of its frames as PNG.")
            picture.load()
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except UnidentifiedImageError as error:
        raise BadInput("This is not a PNG, JPEG or WebP picture. Save it as PNG and try again.") from error
    except PILImage.DecompressionBombError as error:
        raise BadInput(f"This picture has more than {MAX_PIXELS // 10**6} megapixels. Choose a smaller one.") from error
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise BadInput("This picture is damaged or cut off. Save it again and try once more.") from error
    flat = PILImage.new("RGBA", upright.size, "white")
    flat.alpha_composite(upright)
    flat.thumbnail((SIDE, SIDE))
    return Image.from_pil(flat)


def board_in(picture: Image) -> maze.Problem:
    """The maze in a picture of our own or of the Uni-MMMU style; raises ``BadInput`` where it shows none with a route.

    A picture in the Uni-MMMU style stays with the problem, so that the drawn steps can be put back on it.
    """
    own = maze.read(picture)
    if own.board is not None and own.n and not own.unreadable and not own.stray:
        return maze.paint([[_PLAIN.get(kind, kind) for kind in row] for row in own.board.cells])
    return with_picture(foreign.fit(picture, _size_in(picture))[0], picture)


def scene_in(picture: Image) -> list[list[str]]:
    """The shapes in a picture of one of our scenes as [colour, shape, size, place]; raises ``BadInput`` where it shows something else."""
    read = scene.read(Image.from_pil(picture.to_pil().resize((scene.SIDE * scene.SLOT_PX,) * 2, PILImage.Resampling.BOX)))
    if read.unclear or abs(picture.width - picture.height) > picture.width // 20:
        places = ", ".join(maze.cell_name(slot) for slot in read.unclear[:6])
        raise BadInput(f"This is no scene of our shapes{f': {places} cannot be read' if places else ''}. Save one of this page's pictures.")
    return [[thing.colour, thing.shape, thing.size, maze.cell_name(thing.slot)] for thing in read.scene.things]


def with_picture(problem: maze.Problem, picture: Image) -> maze.Problem:
    """The problem with the picture that it was read from; raises ``BadInput`` where that shows another maze."""
    if foreign.fit(picture, problem.board.n)[0].board != problem.board:
        raise BadInput("The picture shows another maze than the rows. Send the rows that were read from it, or no picture.")
    text = base64.b64encode(picture.to_png()).decode()
    return replace(problem, picture=text) if len(text) <= maze.MOST_PICTURE else problem


def _size_in(picture: Image) -> int:
    """Cells a side of a foreign board: the size at which the board that is read, drawn again, looks most like the picture."""
    small = picture.to_pil()
    small.thumbnail((_SMALL, _SMALL), PILImage.Resampling.NEAREST)  # no blended colours at the borders
    picture = Image.from_pil(small)
    box = foreign.find_box(picture)
    area = picture.to_pil().crop((box.left, box.top, box.left + box.side, box.top + box.side))

    def mismatch(cells: int) -> float:
        table = foreign.parse(picture, cells, box)
        board = maze.Board.of([[_LETTERS.get(letter, maze.FLOOR) for letter in row] for row in table])
        side = 12 * cells
        margin = round(foreign.MARGIN_SHARE * 2 * side)
        drawn = foreign.draw(board, 2 * side).to_pil().crop((margin, margin, 2 * side - margin, 2 * side - margin)).resize((side, side))
        shown = area.resize((side, side), PILImage.Resampling.BILINEAR)
        return float(np.abs(np.asarray(shown, np.int16) - np.asarray(drawn, np.int16)).mean())

    return min(range(maze.SMALLEST, maze.LARGEST + 1), key=mismatch)
