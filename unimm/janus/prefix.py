"""What was read lately, kept by content, so that a longer conversation of the same beginning starts from there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unimm.document import Image
from unimm.janus.decoder import Decoder, State, own
from unimm.janus.processor import Chunk


class Reader:
    """Reads chunks and remembers the states after each of them.

    Always in the same passes, so that a remembered state and one read anew are equal bit for bit. The states along one
    conversation share the tensors of the longest. ``remembered`` bounds the positions (times rows) that all kept tensors
    hold; 0 remembers nothing.
    """

    def __init__(self, decoder: Decoder, see: Callable[[Image], Tensor], remembered: int) -> None:
        self.decoder, self.see, self.remembered = decoder, see, remembered
        self._states: OrderedDict[str, State] = OrderedDict()

    def read(self, chunks: Sequence[Chunk]) -> State:
        """The state after all chunks, from the longest beginning that is remembered."""
        keys = [""]
        for chunk in chunks:
            keys.append(chunk.key(keys[-1]))
        known = next((count for count in range(len(chunks), 0, -1) if keys[count] in self._states), 0)
        state = self._states[keys[known]] if known else State()
        along = [self._states[key] for key in keys[1 : known + 1] if key in self._states]
        for key, chunk in zip(keys[known + 1 :], chunks[known:], strict=True):
            state = replace(self.decoder.extend(state, self.embeds(chunk)), key=key)
            along.append(state)
        self._remember(along)
        return state

    def embeds(self, chunk: Chunk) -> Tensor:
        """A chunk's embeddings [rows, n, width], the picture's behind the words."""
        words = self.decoder.words(torch.tensor(chunk.rows))
        return words if chunk.image is None else torch.cat([words, self.see(chunk.image)], 1)

    def _remember(self, along: Sequence[State]) -> None:
        """Keep the states of one conversation, shortest first."""
        for state in along:
            self._states[state.key] = _within(state, along[-1])
            self._states.move_to_end(state.key)
        while self._states and self._held() > self.remembered:
            self._states.popitem(last=False)

    def _held(self) -> int:
        """Positions times rows in memory; what several states share counts once."""
        firsts = [state.cache.layers[0].keys for state in self._states.values()]
        sizes = {keys.untyped_storage().data_ptr(): keys.untyped_storage().nbytes() // (keys[0, :, 0].nbytes) for keys in firsts}
        return sum(sizes.values())


def _within(state: State, longest: State) -> State:
    """The same state as a view into the tensors of a longer one."""
    view = own(state)
    for layer, whole in zip(view.cache.layers, longest.cache.layers, strict=True):
        layer.keys, layer.values = whole.keys[:, :, : state.length], whole.values[:, :, : state.length]
    return view
