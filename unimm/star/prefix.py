"""What the base has read so far, kept so that a longer document of the same beginning starts from there."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unimm.document import Document, Image, Text
from unimm.star.backbone import causal_mask, new_cache
from unimm.star.layout import SEEN, Layout
from unimm.star.model import Star


@dataclass(frozen=True)
class Chunk:
    """What the base reads in one pass: an opened picture or words. ``key`` tells chunks of different content apart."""

    key: str
    ids: tuple[int, ...] = ()
    image: Image | None = None
    one_by_one: bool = False


@dataclass(frozen=True)
class Prefix:
    """The base's state after some chunks: keys and values, states [1, L, ...], positions [3, 1, L].

    Values only: extending makes a new one, and tensors are shared, never copied.
    """

    key: str = ""
    time: int = 0
    cache: Any = None
    hidden: Tensor | None = None
    position: Tensor | None = None
    images: tuple[Image, ...] = ()

    @property
    def length(self) -> int:
        return 0 if self.hidden is None else self.hidden.shape[1]


def shared(cache: Any) -> Any:
    """A cache that can grow on its own while it shares the tensors of ``cache``."""
    twin = new_cache()
    if cache is not None:
        twin.layers = [copy.copy(layer) for layer in cache.layers]
    return twin


def next_key(key: str, chunk: Chunk) -> str:
    return hashlib.sha256(f"{key}|{chunk.key}".encode()).hexdigest()


def shortened(prefix: Prefix, words: int) -> Prefix:
    """The prefix without its last so many words."""
    if not words:
        return prefix
    cache = shared(prefix.cache)
    cache.crop(-words)
    return replace(
        prefix, time=prefix.time - words, cache=cache, hidden=prefix.hidden[:, :-words], position=prefix.position[..., :-words]
    )


class Reader:
    """Reads chunks with the base and remembers the latest prefixes; always in the same passes, so that a remembered
    prefix and one read anew are equal bit for bit."""

    def __init__(self, star: Star, see: Any, special: dict[str, int], remembered: int = 48) -> None:
        self.star, self.see, self.special, self.remembered = star, see, special, remembered
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()

    def read(self, chunks: Sequence[Chunk]) -> Prefix:
        """The prefix after all chunks, from the longest remembered beginning."""
        keys = [""]
        for chunk in chunks:
            keys.append(next_key(keys[-1], chunk))
        known = next((count for count in range(len(chunks), 0, -1) if keys[count] in self._prefixes), 0)
        prefix = self._prefixes[keys[known]] if known else Prefix()
        for chunk in chunks[known:]:
            prefix = self.extend(prefix, chunk)
            self.remember(prefix)
        return prefix

    def remember(self, prefix: Prefix) -> None:
        self._prefixes[prefix.key] = prefix
        self._prefixes.move_to_end(prefix.key)
        while len(self._prefixes) > self.remembered:
            self._prefixes.popitem(last=False)

    def extend(self, prefix: Prefix, chunk: Chunk) -> Prefix:
        """The prefix after one more chunk."""
        if chunk.one_by_one:
            for token in chunk.ids:
                prefix, _ = self.step(prefix, [token])
        else:
            prefix, _ = self.step(prefix, chunk.ids, chunk.image)
        return replace(prefix, key=next_key(prefix.key, chunk))

    def step(self, prefix: Prefix, ids: Sequence[int], image: Image | None = None, **options: Any) -> tuple[Prefix, Any]:
        """Read words, and after them an opened and closed picture, in one pass; also gives the base's whole output.

        The key stays that of ``prefix``: naming the result is the caller's business.
        """
        seen = None
        columns = self.star.config.grid
        if image is not None:
            seen, columns = self.see(image)
        layout = Layout(columns, self.star.config.grid_stride, time=prefix.time)
        layout.text(ids)
        if seen is not None:
            layout.text([self.special["<|vision_start|>"]])
            layout.picture(SEEN, 0, seen.shape[1])
            layout.text([self.special["<|vision_end|>"]])
        fields = {name: torch.from_numpy(values)[None] for name, values in layout.arrays().items() if name != "segment"}
        position = fields.pop("position").permute(2, 0, 1)
        embeds = self.star.embed(**fields, columns=columns, seen=seen, codes=None)
        cache = shared(prefix.cache)
        out = self.star.base.model.language_model(
            inputs_embeds=embeds, position_ids=position, past_key_values=cache, use_cache=True,
            attention_mask={"full_attention": causal_mask(len(layout), prefix.length)},
            output_hidden_states=bool(self.star.config.stack_reads), **options,
        )  # fmt: skip
        hidden = self.star.states(out)
        longer = replace(
            prefix, time=layout.time, cache=cache, images=(*prefix.images, image) if image is not None else prefix.images,
            hidden=hidden if prefix.hidden is None else torch.cat([prefix.hidden, hidden], 1),
            position=position if prefix.position is None else torch.cat([prefix.position, position], 2),
        )  # fmt: skip
        return longer, out


def chunks_of(document: Document, encode: Any, special: dict[str, int]) -> list[Chunk]:
    """The passes in which a document is read: one a picture, one for the words that end a turn of the user.

    The assistant's texts are read word by word, as they were written: a text of the model's own, remembered from its
    writing, and the same text read anew give the same states.
    """
    start, end = special["<|im_start|>"], special["<|im_end|>"]
    chunks: list[Chunk] = []
    for number, turn in enumerate(document.turns):
        last = number + 1 == len(document.turns)
        if turn.role == "user":
            pending, words = [start], ""
            for part in turn.parts:
                if isinstance(part, Image):
                    chunks.append(Chunk(f"see:{words!r}:{part.hash}", tuple(pending), part))
                    pending, words = [], ""
                else:
                    pending, words = [*pending, *encode(part.text)], words + "\n" + part.text
            chunks.append(Chunk(f"ask:{words!r}", (*pending, end)))
            continue
        for part in turn.parts:
            if isinstance(part, Text):
                chunks.append(Chunk(f"say:{part.text!r}", tuple(encode(part.text)), one_by_one=True))
            else:
                chunks.append(Chunk(f"see:'':{part.hash}", (), part))
        if not last:
            chunks.append(Chunk("end", (end,)))
    return chunks
