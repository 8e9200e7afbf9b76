"""From documents to what the model reads: templates, chunks of tokens, guidance rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from unimm.document import Document, Image, Text, Turn
from unimm.errors import BadInput
from unimm.janus.config import ASSISTANT, MARKS, SYSTEM, USER, SpecialIds
from unimm.janus.pixels import check_picture
from unimm.janus.tokenizer import Words, plain

MAX_CHARACTERS = 20_000

Message = tuple[str, str]
"""A role's name and what it says; an empty text asks for that role's next words."""


@dataclass(frozen=True)
class Chunk:
    """What is read in one pass: ids of words, the same number in every row [rows][n], and after them at most one picture."""

    rows: tuple[tuple[int, ...], ...]
    image: Image | None = None

    def key(self, before: str) -> str:
        """Content hash of everything up to this chunk's end."""
        return hashlib.sha256(f"{before}|{self.rows}|{self.image.hash if self.image else ''}".encode()).hexdigest()


def pieces(messages: Sequence[Message], system: str = "") -> list[str]:
    """A conversation in the release's template, cut where an answer begins and where it ends (fact sheet, 1.4).

    Messages alternate, the asking role first. Joined, the pieces are the text to read.
    """
    done, text = [], f"{system}\n\n" if system else ""
    for number, (role, words) in enumerate(messages):
        words, answers = words.strip(), number % 2 == 1
        if not answers:
            text += f"{role}: {words}\n\n"
            continue
        done, text = [*done, f"{text}{role}:"], ""
        if words:
            done.append(f" {words}{MARKS['eos']}")
    return [*done, text] if text else done


def messages_of(document: Document) -> list[Message]:
    """Turns that end with the user's, as messages that end with an open answer; turns of one side in a row are one message."""
    messages: list[Message] = []
    for role, turns in groupby(document.turns, key=lambda turn: turn.role):
        if not messages and role == "assistant":
            messages.append((USER, ""))
        messages.append((USER if role == "user" else ASSISTANT, "\n".join(map(_words, turns))))
    return [*messages, (ASSISTANT, "")]


def _words(turn: Turn) -> str:
    return "\n".join(MARKS["image"] if isinstance(part, Image) else plain(part.text) for part in turn.parts)


def text_chunks(document: Document, words: Words) -> list[Chunk]:
    """How a conversation is read before its next answer is written: a pass a picture, a pass a message."""
    pictures = iter(part for turn in document.turns for part in turn.parts if isinstance(part, Image))
    special, chunks = words.special, []
    pending: list[int] = [special.bos]
    for piece in pieces(messages_of(document), SYSTEM):
        for token in words.encode(piece):
            if token == special.image:
                chunks.append(Chunk(((*pending, special.begin),), next(pictures)))
                pending = [special.end]
            else:
                pending.append(token)
        chunks, pending = [*chunks, Chunk((tuple(pending),))], []
    return chunks


def drawing_ids(prompt: str, words: Words) -> list[int]:
    """Ids of a prompt to draw from: no system text, ends with begin-of-image."""
    text = "".join(pieces([(USER, plain(prompt)), (ASSISTANT, "")]))
    return [words.special.bos, *words.encode(text), words.special.begin]


def drawing_prompt(document: Document) -> str:
    """The words a picture is drawn from: those of the user's last turn, and the thought or critique after it.

    What was said before does not count, and neither do pictures: this model cannot edit.
    """
    asked, answered = "", []
    for turn in document.turns:
        said = "\n".join(part.text.strip() for part in turn.parts if isinstance(part, Text)).strip()
        if turn.role == "user":
            asked, answered = said, []
        else:
            answered.append(said)
    return "\n".join(filter(None, [asked, *answered]))


def guidance_rows(ids: Sequence[int], special: SpecialIds) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A prompt, and the same length without it: all but the first and the last become pads, which are looked at like words."""
    return tuple(ids), (ids[0], *[special.pad] * (len(ids) - 2), ids[-1])


def check_document(document: Document) -> None:
    """Raise ``BadInput`` for a document without content, with far too many words, or with a picture that is no use."""
    parts = [part for turn in document.turns for part in turn.parts]
    if not parts or not any(isinstance(part, Image) or part.text.strip() for part in parts):
        raise BadInput("The document is empty. Put a picture or some words into it.")
    if sum(len(part.text) for part in parts if isinstance(part, Text)) > MAX_CHARACTERS:
        raise BadInput(f"The text is too long for this model. Keep it under {MAX_CHARACTERS:,} characters.")
    for part in parts:
        if isinstance(part, Image):
            check_picture(part)
