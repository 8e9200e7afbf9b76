"""One picture being drawn, code after code, and one text being written, word after word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from einops import repeat
from torch import Tensor

from unimm.janus.config import JanusOptions
from unimm.janus.decoder import Decoder, State, own, with_room
from unimm.sampling import SamplingOptions, guided, sample


class Canvas:
    """Draws VQ ids [cells] after one state of one row, or of two: with the prompt and without, for guidance.

    Both rows go through the network in one batch and get the same code. ``raw`` [rows, codes] and ``logits`` [codes] are
    the newest code's, before and after guidance.
    """

    def __init__(self, decoder: Decoder, state: State, static: bool = False) -> None:
        self.decoder, self.cells, self.done, self.passes = decoder, decoder.cells, 0, 0
        self.ids = torch.zeros(self.cells, dtype=torch.long)
        self._state = with_room(state, decoder, self.cells - 1) if static else own(state)
        self.raw = self.logits = torch.empty(0)

    def fill(self, options: JanusOptions, generator: torch.Generator) -> Iterator[int]:
        """Draw; after every code yields how many there are."""
        while self.done < self.cells:
            with torch.inference_mode():
                if self.done:
                    newest = repeat(self.ids[self.done - 1 : self.done], "1 -> rows 1", rows=self._state.rows)
                    self._state, _ = self.decoder.run(self._state, self.decoder.codes(newest))
                    self.passes += 1
                self.raw = self.decoder.code_logits(self._state.hidden)
                self.logits = self.raw[0] if len(self.raw) == 1 else guided(self.raw[0], self.raw[1], options.guidance)
                self.ids[self.done] = int(sample(self.logits[None], options, generator))
                self.done += 1
            yield self.done


def write(
    decoder: Decoder, state: State, options: SamplingOptions, generator: torch.Generator | None, limit: int, never: Sequence[int] = (),
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Write up to ``limit`` words after a state, every row its own; yields ids [rows] and logits [rows, words] of each.

    ``never`` are ids that are not drawn; the logits still hold them. The pass over a word is made when the next is asked for.
    """
    state, newest = own(state), torch.empty(0)
    for step in range(limit):
        with torch.inference_mode():
            if step:
                state, _ = decoder.run(state, decoder.words(newest[:, None]))
            logits = decoder.word_logits(state.hidden)
            allowed = logits.clone()
            allowed[:, list(never)] = float("-inf")
            newest = sample(allowed, options, generator)
        yield newest, logits


def for_words(options: JanusOptions) -> JanusOptions:
    """The options under which words are drawn: codes and words have a temperature and a top-p of their own."""
    return replace(options, temperature=options.text_temperature, top_p=options.text_top_p, top_k=0)
