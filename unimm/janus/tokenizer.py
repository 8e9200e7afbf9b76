"""Words to ids and back: the release's ``tokenizer.json``, or a table of made-up words for toy weights."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer

from unimm.errors import MissingWeights
from unimm.janus.config import ASSISTANT, MARKS, USER, SpecialIds


class Words(Protocol):
    """What this package needs of a tokenizer; ``encode`` adds nothing of its own and reads the marks of ``SpecialIds``."""

    special: SpecialIds

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


class ReleasedWords:
    """The tokenizer of a release."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        known = {name: tokenizer.token_to_id(mark) for name, mark in MARKS.items()}
        if absent := [MARKS[name] for name, token in known.items() if token is None]:
            raise MissingWeights(f"tokenizer.json lacks {', '.join(absent)}. Take the one that belongs to Janus-Pro.")
        self.special = SpecialIds(**known)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


class ToyWords:
    """For weights that know no language: id k stands for the k-th made-up word, any other word for the id of its hash.

    A text costs one token a word, and what is decoded encodes to the same ids. ``count`` is the number of plain words.
    """

    _SYLLABLES = tuple(first + second for first in "bdfgklmnprst" for second in "aeiou")

    def __init__(self, special: SpecialIds, count: int) -> None:
        self.special, self.count = special, count
        self._ids = {self._word(token): token for token in range(count)}
        self._marks = {mark: getattr(special, name) for name, mark in MARKS.items()}
        self._pattern = re.compile("|".join([*map(re.escape, self._marks), r"\S+?(?=\s|$|<)", r"\S"]))

    def _word(self, token: int) -> str:
        high, low = divmod(token, len(self._SYLLABLES))
        return (self._word(high - 1) if high else "") + self._SYLLABLES[low]

    def encode(self, text: str) -> list[int]:
        found = self._pattern.findall(text)
        return [self._marks[word] if word in self._marks else self._plain(word) for word in found]

    def _plain(self, word: str) -> int:
        return self._ids.get(word, zlib.crc32(word.encode()) % self.count)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self._word(token) for token in ids if token < self.count)


def plain(text: str) -> str:
    """A visitor's words without the marks that would be read as something else."""
    for mark in (*MARKS.values(), USER, ASSISTANT):
        text = text.replace(mark, " ")
    return text.strip()


def load_words(folder: Path, toy: Mapping[str, Any] | None = None) -> Words:
    """The tokenizer of a folder; without a ``tokenizer.json``, toy words for the ids of a toy's ``tokens``.

    Raises ``MissingWeights`` where there is neither, or the file is damaged.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            return ReleasedWords(Tokenizer.from_file(str(path)))
        except MissingWeights:
            raise
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise MissingWeights(f"{path} is damaged. Fetch it again.") from error
    if toy and "tokens" in toy:
        ids = {"bos": "bos", "eos": "eos", "pad": "pad", "begin": "boi", "image": "image", "end": "eoi"}
        special = replace(SpecialIds(), **{ours: toy["tokens"][theirs] for ours, theirs in ids.items()})
        return ToyWords(special, toy["tokens"]["text_max"])
    raise MissingWeights(f"{folder} holds no tokenizer.json. Download it from the repository of the weights.")
