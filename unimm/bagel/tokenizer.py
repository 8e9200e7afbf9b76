"""Words to ids with the byte-level Qwen2 tokenizer, from ``tokenizer.json`` or from ``vocab.json`` and ``merges.txt``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from unimm.bagel.model import Marks
from unimm.errors import MissingWeights

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How Qwen2 cuts a text before merging bytes."""
MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")


@dataclass(frozen=True)
class Words:
    """Texts to ids and back. There are no roles and no template: a text is ``begin``, its ids, ``end``."""

    plain: Tokenizer
    marked: Tokenizer
    marks: Marks

    def encode(self, text: str, own: bool = False) -> list[int]:
        """Ids of a text with its two marks. Control words in it are plain words, unless the model itself wrote it (``own``)."""
        tokenizer = self.marked if own else self.plain
        return [self.marks.text_begin, *tokenizer.encode(text, add_special_tokens=False).ids, self.marks.text_end]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of written ids, without marks: it ends where the model closed it or opened another."""
        ends = [place for place, token in enumerate(ids) if token in (self.marks.text_begin, self.marks.text_end)]
        return self.marked.decode(list(ids[: ends[0]] if ends else ids), skip_special_tokens=False)


def load_words(folder: Path) -> Words:
    """Read a folder's tokenizer; raises ``MissingWeights`` where it is absent, damaged or lacks the marks around pictures."""
    plain, marked = _read(folder), _read(folder)
    plain.encode_special_tokens = True
    ids = [marked.token_to_id(mark) for mark in MARKS]
    if None in ids:
        raise MissingWeights(f"The tokenizer in {folder.name} lacks {MARKS[ids.index(None)]}. Fetch BAGEL's own tokenizer files.")
    return Words(plain, marked, Marks(*ids))


def _read(folder: Path) -> Tokenizer:
    try:
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        return _assemble(folder)
    except Exception as error:  # the library raises bare Exception for every kind of damage
        raise MissingWeights(f"The tokenizer in {folder} is missing or damaged. Fetch its files again.") from error


def _assemble(folder: Path) -> Tokenizer:
    """The same tokenizer from the older files."""
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    config: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    added = sorted((int(place), row) for place, row in config["added_tokens_decoder"].items())
    for _, row in added:
        tokenizer.add_special_tokens([AddedToken(row["content"], normalized=False, special=True)])
    if any(tokenizer.token_to_id(row["content"]) != place for place, row in added):
        raise ValueError("ids of the added tokens do not follow the vocabulary")
    return tokenizer
