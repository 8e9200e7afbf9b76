"""Words to ids: the native ``tokenizer.json``, the original ``emu3.tiktoken``, or the few ids of a toy."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from unimm.errors import MissingWeights

NATIVE_FILE, ORIGINAL_FILE = "tokenizer.json", "emu3.tiktoken"
FEWEST_WORDS = 256
"""A vocabulary of bytes needs at least so many words: one with fewer can only be a toy."""

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # fmt: skip
"""Where the original cuts a text before it merges bytes."""


class Words(Protocol):
    """What the model needs of a tokenizer: plain text only, control words are the model's business."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Bytes:
    """A byte-level vocabulary. Control words inside a text are plain text: a visitor's words cannot open a picture."""

    tokenizer: Tokenizer

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids))


@dataclass(frozen=True)
class ToyWords:
    """A vocabulary of ``count`` ids without a tokenizer: the ten digits, the asterisk, and one id for every word by its checksum.

    Written ids read back as themselves ("w45" is 45), so a toy's own words keep their ids.
    """

    count: int
    first: int = 11

    def encode(self, text: str) -> list[int]:
        return [self._id(piece) for piece in re.findall(r"w\d+\b|\d|\*|[^\W\d]+|[^\w\s]", text)]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join("*" if token == 10 else str(token) if token < 10 else f"w{token}" for token in ids)

    def _id(self, piece: str) -> int:
        if piece.isdecimal() and piece.isascii():
            return int(piece)
        if piece == "*":
            return 10
        own = int(piece[1:]) if re.fullmatch(r"w\d{1,6}", piece, re.ASCII) else self.count
        return own if self.first <= own < self.count else self.first + zlib.crc32(piece.encode()) % (self.count - self.first)


def load_words(folders: Iterable[Path], words: int) -> Words:
    """The tokenizer in the first folder that has one; ``words`` ids are for words. Raises ``MissingWeights``."""
    folders = list(folders)
    for folder in folders:
        if (folder / NATIVE_FILE).is_file():
            return _native(folder / NATIVE_FILE)
        if (folder / ORIGINAL_FILE).is_file():
            return Bytes(from_ranks(read_ranks(folder / ORIGINAL_FILE)))
    if words < FEWEST_WORDS:
        return ToyWords(words)
    raise MissingWeights(f"{folders[0]} holds no {NATIVE_FILE} and no {ORIGINAL_FILE}. Download the repository's tokenizer files too.")


def _native(path: Path) -> Bytes:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for every kind of damage
        raise MissingWeights(f"The tokenizer {path} is damaged. Fetch it again.") from error
    tokenizer.encode_special_tokens = True
    return Bytes(tokenizer)


def read_ranks(path: Path) -> dict[bytes, int]:
    """A tiktoken file: a line a token, its bytes in base64 and its rank. Raises ``MissingWeights``."""
    try:
        rows = [line.split() for line in path.read_bytes().splitlines() if line]
        return {base64.b64decode(token, validate=True): int(rank) for token, rank in rows}
    except (OSError, ValueError) as error:
        raise MissingWeights(f"The tokenizer {path} is damaged. Fetch it again.") from error


def from_ranks(ranks: dict[bytes, int]) -> Tokenizer:
    """A byte-level merging tokenizer whose ids are the ranks."""
    shown = _printable()
    vocabulary = {"".join(shown[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) > 1 and (parts := _halves(token, ranks)):
            merges.append(tuple("".join(shown[byte] for byte in part) for part in parts))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, ...] | None:
    """The two tokens whose merge makes ``token``: what is left when only earlier merges are done; None for a token of its own."""
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(parts[at] + parts[at + 1], ranks[token]) for at in range(len(parts) - 1)]
        at = min(range(len(joined)), key=joined.__getitem__)
        if joined[at] >= ranks[token]:
            return None
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return tuple(parts)


def _printable() -> dict[int, str]:
    """The letter that stands for each byte in a byte-level vocabulary: itself where it is visible, else one from 256 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + at) for at, byte in enumerate(hidden)}
