"""Words to ids for the embedded model: a fixed list of whole words, and bytes for everything else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from unimm.errors import MissingWeights

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    "<|fim_pad|>",
)  # fmt: skip


def word_tokenizer(words: Iterable[str]) -> Tokenizer:
    """One id a known word; any other text falls apart into letters and bytes, so nothing is lost.

    ``words`` are kept in order, doubles dropped: adding words at the end leaves all earlier ids as they are.
    """
    letters = [chr(code) for code in range(33, 127)]
    pieces = [(token, -1e4) for token in SPECIAL] + [("<unk>", -1e4)] + [(f"<0x{byte:02X}>", -30.0) for byte in range(256)]
    pieces += [("▁", -12.0)] + [(letter, -10.0) for letter in letters]
    known = {piece for piece, _ in pieces}
    for word in words:
        piece = f"▁{word}"
        if piece not in known:
            known.add(piece)
            pieces.append((piece, -2.0))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=len(SPECIAL), byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    tokenizer.add_special_tokens(list(SPECIAL))
    return guarded(tokenizer)


def guarded(tokenizer: Tokenizer) -> Tokenizer:
    """Treat control words inside a text as plain text, so that a visitor's words cannot open a turn or a picture."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Read ``tokenizer.json``; raises ``MissingWeights`` where it is absent or damaged."""
    try:
        return guarded(Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises bare Exception for every kind of damage
        raise MissingWeights(f"The tokenizer {path.name} is missing or damaged. Fetch the model folder again.") from error
