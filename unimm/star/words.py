"""Words to ids and back, for the base and for the diffusion decoder's text encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tokenizers import Tokenizer

from unimm.star.tokenizer import guarded


class Words(Protocol):
    """A tokenizer as this package needs it: control words in a text stay plain text."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; control ids are left out."""
        ...


class FileWords:
    """A ``tokenizer.json`` as published. ``marked`` adds the marks that its post-processor asks for (Gemma's start mark)."""

    def __init__(self, tokenizer: Tokenizer, marked: bool = False) -> None:
        self.tokenizer, self.marked = guarded(tokenizer), marked

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=self.marked).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


class Letters:
    """The words of toy models whose folder has no tokenizer: one id a printable ASCII letter, role names whole.

    Ids come in order from the ones that no control word has taken; a vocabulary too small for all letters uses ids twice
    (then ``decode`` gives the first), and letters outside ASCII become the last one.
    """

    PIECES = ("system", "user", "assistant", *(chr(code) for code in range(32, 127)))

    def __init__(self, vocabulary: int, taken: Iterable[int], newline: int | None = None, start: int | None = None) -> None:
        used = {*taken} | {mark for mark in (newline, start) if mark is not None}
        free = [place for place in range(vocabulary) if place not in used]
        self._ids = {piece: free[number % len(free)] for number, piece in enumerate(self.PIECES)}
        if newline is not None:
            self._ids["\n"] = newline
        self._pieces = {place: piece for piece, place in reversed(self._ids.items())}
        self._start = [] if start is None else [start]

    def encode(self, text: str) -> list[int]:
        ids, at = list(self._start), 0
        roles = self.PIECES[:3]
        while at < len(text):
            piece = next((role for role in roles if text.startswith(role, at)), text[at])
            ids.append(self._ids.get(piece, self._ids["~"]))
            at += len(piece)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self._pieces.get(place, "") for place in ids)
