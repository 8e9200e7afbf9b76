"""Blots: tokens of a picture that show what does not belong there. Drawings at a high temperature have them anywhere."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from einops import rearrange

from agents.doodles import doodle
from agents.teaching.own import TOKEN_PX


def blotted(rng: random.Random, picture: np.ndarray, other: np.ndarray, most: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [H, W, 3] with up to ``most`` of its tokens blotted, and 1 for each of these, [H / 16 * W / 16].

    Half of the pictures have tokens of the ``other`` one as blots: what a drawing that goes wrong shows is mostly of its own world.
    """
    rows, columns = (side // TOKEN_PX for side in picture.shape[:2])
    made, blots = picture.copy(), np.zeros((rows, columns), np.int64)
    tiles = _cut(other[None]) if rng.random() < 0.5 else _tiles()
    for cell in rng.sample(range(rows * columns), rng.randint(1, most)):
        row, column = divmod(cell, columns)
        made[row * TOKEN_PX : (row + 1) * TOKEN_PX, column * TOKEN_PX : (column + 1) * TOKEN_PX] = rng.choice(tiles)
        blots[row, column] = 1
    return made, blots.ravel()


@lru_cache(maxsize=1)
def _tiles() -> np.ndarray:
    """Tokens of lines, shapes and letters, [n, 16, 16, 3]: what the VQ has codes for."""
    rng = random.Random("blots")
    return _cut(np.stack([doodle(rng) for _ in range(80)]))


def _cut(pictures: np.ndarray) -> np.ndarray:
    """The tokens of pictures that show something, [n, 16, 16, 3]."""
    tiles = rearrange(pictures, "n (r y) (c x) rgb -> (n r c) y x rgb", y=TOKEN_PX, x=TOKEN_PX)
    return tiles[tiles.std((1, 2, 3)) > 10]
