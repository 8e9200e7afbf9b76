"""Keys and values of a text being written: room is made once, every token is put in its place, nothing is copied again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class RoomLayer(DynamicLayer):
    """A layer's keys and values [B, heads, room, width] of which the first ``used`` count.

    The library's growing layer joins everything anew at each token: the cost of a picture grows with its square.
    """

    def __init__(self, keys: Tensor, values: Tensor, used: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values, self.used = keys, values, used

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Put the new ones behind the others; views of all that count. Raises IndexError beyond the room."""
        upto = self.used + key_states.shape[-2]
        if upto > self.keys.shape[-2]:
            raise IndexError(f"no room for {upto} tokens in {self.keys.shape[-2]}")
        self.keys[:, :, self.used : upto] = key_states
        self.values[:, :, self.used : upto] = value_states
        self.used = upto
        return self.keys[:, :, :upto], self.values[:, :, :upto]

    def get_seq_length(self) -> int:
        return self.used


def side_by_side(caches: Sequence[Cache], lengths: Sequence[int], room: int) -> Cache:
    """Rows of different lengths as one batch, their ends aligned, with ``room`` for more tokens; gaps before a row are zeros."""
    longest = max(lengths)
    layers = []
    for index in range(len(caches[0].layers)):
        rows = [cache.layers[index] for cache in caches]
        _, heads, _, width = rows[0].keys.shape
        keys, values = (torch.zeros(len(rows), heads, longest + room, width, dtype=rows[0].keys.dtype, device=rows[0].keys.device)
                        for _ in range(2))  # fmt: skip
        for row, (layer, length) in enumerate(zip(rows, lengths, strict=True)):
            keys[row, :, longest - length : longest] = layer.keys[0]
            values[row, :, longest - length : longest] = layer.values[0]
        layers.append(RoomLayer(keys, values, longest))
    return Cache(layers=layers)
