"""Documents as the rows that a released STAR reads: Qwen's chat for understanding, one user turn for drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.star.processor import SpecialIds, Template
from unimm.star.words import Words

SYSTEM = "You are a helpful assistant."
SUFFIX = " Ultra HD, 4K, cinematic composition"
"""What the released reasoning flag puts behind the rewritten prompt."""
LONGEST_TEXT = 32_000
SMALLEST_SIDE, LARGEST_AREA = 8, 40_000_000


@dataclass(frozen=True)
class Chat:
    """Qwen's chat template over one tokenizer."""

    words: Words
    special: SpecialIds

    @cached_property
    def template(self) -> Template:
        """What stands around the words of a drawing row: 14 and 5 ids with Qwen's tokenizer."""
        mark, end = [self.special.im_start], [self.special.im_end, *self.words.encode("\n")]
        head = [*mark, *self.words.encode(f"system\n{SYSTEM}"), *end, *mark, *self.words.encode("user\n")]
        return Template(self.special, tuple(head), tuple([*end, *mark, *self.words.encode("assistant\n")]))

    def row(self, document: Document, tokens_of: Callable[[Image], int]) -> list[int]:
        """Ids of a whole document up to the mark where the answer begins; pictures are runs of placeholders."""
        special = self.special
        end = [special.im_end, *self.words.encode("\n")]
        ids = [special.im_start, *self.words.encode(f"system\n{SYSTEM}"), *end]
        for turn in document.turns:
            ids += [special.im_start, *self.words.encode(f"{turn.role}\n")]
            pending: list[str] = []
            for part in turn.parts:
                if isinstance(part, Text):
                    pending.append(part.text)
                    continue
                ids += self.words.encode("\n".join(pending)) if pending else []
                pending = []
                ids += [special.vision_start, *[special.image_pad] * tokens_of(part), special.vision_end]
            ids += [*(self.words.encode("\n".join(pending)) if pending else []), *end]
        return [*ids, special.im_start, *self.words.encode("assistant\n")]


def without_words(row: list[int], extra: int, special: SpecialIds) -> Tensor:
    """The unconditional twin [1, L + extra] of a drawing row: all padded but its first and last four ids.

    ``extra`` places are those of a thought between the row's words and the picture.
    """
    return torch.tensor([[row[0], *[special.fim_pad] * (len(row) + extra - 5), *row[-4:]]])


@dataclass(frozen=True)
class Order:
    """What a document asks to draw: the words, the thought that the assistant already wrote, and the picture to edit."""

    words: str
    thought: str | None
    source: Image | None


def order_of(document: Document) -> Order:
    """The last words of the user, a text of the assistant behind them, and the last picture.

    STAR draws from one user turn (fact sheet: star, sections 5 and 7), so older words play no part.
    Raises ``BadInput`` where nothing says what to draw.
    """
    asked = [text for turn in document.turns if turn.role == "user" if (text := _text(turn.parts)).strip()]
    last = document.turns[-1]
    thought = (_text(last.parts) or None) if last.role == "assistant" else None
    if not asked and thought is None:
        raise BadInput("No words say what to draw. Add a text to the document.")
    pictures = pictures_of(document)
    return Order(asked[-1] if asked else "", thought, pictures[-1] if pictures else None)


def _text(parts: tuple[Text | Image, ...]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def pictures_of(document: Document) -> list[Image]:
    """All pictures in order."""
    return [part for turn in document.turns for part in turn.parts if isinstance(part, Image)]


def check_document(document: Document) -> None:
    """Raise ``BadInput`` for an empty document, far too long texts, and pictures of a size that cannot be read."""
    if not any(isinstance(part, Image) or part.text.strip() for turn in document.turns for part in turn.parts):
        raise BadInput("The document is empty. Put a picture or some words into it.")
    if sum(len(part.text) for turn in document.turns for part in turn.parts if isinstance(part, Text)) > LONGEST_TEXT:
        raise BadInput(f"The text is too long for this model. Keep it under {LONGEST_TEXT:,} characters.")
    for picture in pictures_of(document):
        if min(picture.width, picture.height) < SMALLEST_SIDE or picture.width * picture.height > LARGEST_AREA:
            raise BadInput(
                f"A picture of {picture.width}x{picture.height} pixels cannot be read. Use one of at least {SMALLEST_SIDE} pixels "
                f"a side and at most {LARGEST_AREA // 1_000_000} megapixels."
            )
