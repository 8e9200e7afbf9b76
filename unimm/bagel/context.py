"""What the decoder has read: keys and values in pieces that longer contexts share, and private room to work in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """Keys (normed and rotated) and values of one segment, each [layers, kv heads, length, head width]."""

    keys: Tensor
    values: Tensor

    @property
    def length(self) -> int:
        return self.keys.shape[2]


@dataclass(frozen=True)
class Context:
    """Segments read one after the other. A value: reading on makes a new one that shares all pieces by reference.

    ``rope`` is the next rope position: a text advances it by its tokens, a picture by one. ``key`` names the content;
    contexts of equal keys hold equal numbers.
    """

    key: str = ""
    pieces: tuple[Piece, ...] = ()
    rope: int = 0

    @property
    def length(self) -> int:
        """Cached tokens."""
        return sum(piece.length for piece in self.pieces)

    def with_piece(self, piece: Piece, rope: int, key: str = "") -> Context:
        """This context and one more segment, which advances the rope position by ``rope``."""
        return Context(key, (*self.pieces, piece), self.rope + rope)

    def keys(self, layer: int) -> Tensor:
        """All cached keys of a layer, [length, kv heads, head width]."""
        return torch.cat([piece.keys[layer] for piece in self.pieces], 1).transpose(0, 1)

    def values(self, layer: int) -> Tensor:
        """All cached values of a layer, [length, kv heads, head width]."""
        return torch.cat([piece.values[layer] for piece in self.pieces], 1).transpose(0, 1)


class Workspace:
    """A context's keys and values side by side with free room behind them, for one request alone.

    Made once a request, so that neither a step of the sampler nor a token of a text copies the context again. New rows
    go to the same place until ``advance`` keeps them: a noisy picture never does.
    """

    def __init__(self, context: Context, room: int, empty: Piece) -> None:
        """``empty`` is a piece of length 0 that says layers, heads, width, dtype and device."""
        layers, heads, _, width = empty.keys.shape
        self.length = context.length
        self._keys, self._values = (empty.keys.new_empty(layers, heads, self.length + room, width) for _ in range(2))
        _fill(self._keys, (piece.keys for piece in context.pieces))
        _fill(self._values, (piece.values for piece in context.pieces))

    def put(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new rows [n, kv heads, width] behind what is kept; returns all keys and values, [kv heads, length + n, width]."""
        stop = self.length + len(keys)
        self._keys[layer, :, self.length : stop] = keys.transpose(0, 1)
        self._values[layer, :, self.length : stop] = values.transpose(0, 1)
        return self._keys[layer, :, :stop], self._values[layer, :, :stop]

    def advance(self, count: int) -> None:
        """Keep the ``count`` rows written last."""
        self.length += count

    def written(self, count: int) -> Piece:
        """The ``count`` rows behind what is kept, as a piece of their own."""
        rows = slice(self.length, self.length + count)
        return Piece(self._keys[:, :, rows].clone(), self._values[:, :, rows].clone())


def _fill(room: Tensor, pieces: Iterable[Tensor]) -> None:
    start = 0
    for piece in pieces:
        room[:, :, start : start + piece.shape[2]] = piece
        start += piece.shape[2]
