"""Words to ids and back: the published tokenizer, or letters where a vocabulary is too small to be the published one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from unimm.errors import MissingWeights
from unimm.mmada.config import SpecialIds
from unimm.mmada.prompts import BOS, END, START, TURN_END

PUBLISHED_LEAST = 4096
"""Below so many text ids a folder cannot have the published byte-pair vocabulary and needs no tokenizer file."""


class Words(Protocol):
    """A tokenizer: ``encode`` knows the marks of the chat string, ``decode`` leaves out what is no word."""

    special: SpecialIds

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Pieces:
    """The published ``tokenizer.json``; its length is the offset of the picture codes."""

    tokenizer: Tokenizer
    special: SpecialIds

    @classmethod
    def load(cls, path: Path, eos: int, mask: int) -> Pieces:
        """Read a tokenizer file; marks are found by name, the rest at the published distances. Raises ``MissingWeights``."""
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            # The tokenizers library raises bare Exceptions.
            raise MissingWeights(f"{path.name} cannot be read as a tokenizer. Fetch it again.") from error
        placed = SpecialIds.placed(eos, mask)
        names = {"bos": BOS, "start_header": START, "end_header": END, "eot": TURN_END}
        found = {field: tokenizer.token_to_id(token) for field, token in names.items()}
        if absent := [names[field] for field, value in found.items() if value is None]:
            raise MissingWeights(f"{path.name} lacks {', '.join(absent)}. It belongs to another model; take MMaDA's own.")
        return cls(tokenizer, SpecialIds(**{**vars(placed), **found, "offset": tokenizer.get_vocab_size(with_added_tokens=True)}))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


class Letters:
    """A lossless tokenizer for small vocabularies: a printable ASCII letter or line break is an id, any other byte two half-byte ids.

    Needs 113 text ids. Ids above them decode to nothing.
    """

    ALPHABET = "\n\t" + "".join(map(chr, range(32, 127)))

    def __init__(self, special: SpecialIds) -> None:
        if special.bos < len(self.ALPHABET) + 16:
            raise MissingWeights(f"{special.bos} text ids are too few for letters. Give a tokenizer.")
        self.special = special
        self.ids = {letter: i for i, letter in enumerate(self.ALPHABET)}
        self.marks = {BOS: special.bos, START: special.start_header, END: special.end_header, TURN_END: special.eot}

    def encode(self, text: str) -> list[int]:
        out: list[int] = []
        for piece in re.split("(" + "|".join(map(re.escape, self.marks)) + ")", text):
            out += [self.marks[piece]] if piece in self.marks else self._letters(piece)
        return out

    def _letters(self, text: str) -> Iterator[int]:
        for letter in text:
            if letter in self.ids:
                yield self.ids[letter]
            else:
                for byte in letter.encode("utf-8", "replace"):
                    yield from (len(self.ALPHABET) + half for half in divmod(byte, 16))

    def decode(self, ids: Sequence[int]) -> str:
        data, half = bytearray(), None
        for token in ids:
            value = token - len(self.ALPHABET)
            if 0 <= token < len(self.ALPHABET):
                data += self.ALPHABET[token].encode()
            elif 0 <= value < 16 and half is None:
                half = value
                continue
            elif 0 <= value < 16:
                data.append(16 * half + value)
            half = None
        return data.decode("utf-8", "replace")
