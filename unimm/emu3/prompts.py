"""Documents as Emu3's prompts (fact sheet: janus_pro_emu3, section 2.5): for Chat a conversation, for Gen one text and a size."""

from __future__ import annotations

from dataclasses import replace

from unimm.document import Document, Image, Text

SYSTEM = "You are a helpful assistant."
THOUGHT = "Describe in one sentence the picture to draw as the answer to this"
LONGEST = 20_000
"""Characters of all texts of a document."""


def conversation(document: Document, pictures: int) -> list[str | Image]:
    """The document as Chat was trained to read it: texts and pictures in turns, each text as long as it goes.

    A turn shows its pictures first and ends with a full stop. Chat has never seen itself draw, so the assistant's pictures
    are shown at the head of the user's next turn. Only the latest ``pictures`` are shown.
    """
    seen = [part for turn in document.turns for part in turn.parts if isinstance(part, Image)]
    left_out, pieces, drawn = len(seen) - pictures, [SYSTEM], []
    for turn in document.turns:
        words = "\n".join(part.text for part in turn.parts if isinstance(part, Text))
        shown = [part for part in turn.parts if isinstance(part, Image)]
        if turn.role == "assistant":
            drawn += shown
            pieces.append(f" {words}")
            continue
        pieces += [" USER: ", *drawn, *shown, f"{words}. ASSISTANT:" if words else "ASSISTANT:"]
        drawn = []
    return _joined(pieces, left_out)


def _joined(pieces: list[str | Image], left_out: int) -> list[str | Image]:
    """Neighbouring texts as one, the first ``left_out`` pictures dropped."""
    joined: list[str | Image] = []
    for piece in pieces:
        if isinstance(piece, Image):
            left_out -= 1
            if left_out < 0:
                joined.append(piece)
        elif joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def asking_for_thought(document: Document) -> Document:
    """The document with its last turn asking for words that describe the picture to draw."""
    last = document.turns[-1]
    return Document((*document.turns[:-1], replace(last, parts=(*last.parts, Text(THOUGHT)))))


def drawing_words(document: Document, thought: str = "") -> str:
    """What Gen is asked to draw: everything the user said, and the thought or critique that closes the document.

    Gen sees no picture, so a revision is drawn anew from these words.
    """
    said = [part.text for turn in document.turns if turn.role == "user" for part in turn.parts if isinstance(part, Text)]
    last = document.turns[-1]
    closing = [part.text for part in last.parts if isinstance(part, Text)] if last.role == "assistant" else []
    return " ".join(words.strip() for words in (*said, *closing, thought) if words.strip())


def size_of(document: Document) -> int:
    """Characters of all texts."""
    return sum(len(part.text) for turn in document.turns for part in turn.parts if isinstance(part, Text))
