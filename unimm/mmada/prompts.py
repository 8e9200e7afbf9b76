"""Rows of ids: what stands where in a prompt and in a training row (fact sheet mmada, section 6). No tokenizer in here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unimm.mmada.config import SpecialIds

IGNORE = -100
"""Label of a column that is not learned."""

THINKING = (
    "You should first think about the reasoning process in the mind and then provide the user with the answer. The reasoning process is "
    "enclosed within <think> </think> tags, i.e. <think> reasoning process here </think> answer here\n"
)
"""Goes before the user's words in thinking mode; trained byte for byte (section 11)."""

BOS, START, END, TURN_END = "<|startoftext|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"


def chat(messages: Sequence[tuple[str, str]]) -> str:
    """Messages of (role, words) as the string that the model was trained on, the assistant's header opened at the end."""
    said = "".join(f"{START}{role}{END}\n{words.strip()}{TURN_END}" for role, words in messages)
    return f"{BOS}{said}{START}assistant{END}\n"


def split_thought(text: str) -> tuple[str, str]:
    """A text to (thought, answer): what stands inside the think tags and what follows; no closed tags, no thought."""
    before, opened, rest = text.partition("<think>")
    thought, closed, answer = rest.partition("</think>")
    return (thought.strip(), (before + answer).strip()) if opened and closed else ("", text.strip())


@dataclass(frozen=True)
class Row:
    """One row of ids. ``mask`` is 0 on padding, ``prompt`` 1 where nothing is ever noised, ``labels`` what is learned."""

    ids: list[int]
    mask: list[int]
    prompt: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Layout:
    """Builds rows with at most ``text_length`` (M) columns of words and their marks."""

    special: SpecialIds
    text_length: int

    def begun(self, words: Sequence[int]) -> list[int]:
        """Words after the begin mark, which is not doubled."""
        bos = self.special.bos
        return list(words) if words and words[0] == bos else [bos, *words]

    def drawing_words(self, words: Sequence[int]) -> list[int]:
        """``<t2i> bos words eos``, cut to M + 1 columns so that eos stays."""
        room = self.text_length + 1
        row = [self.special.t2i, *self.begun(words), self.special.eos]
        return row if len(row) <= room else [*row[: room - 1], self.special.eos]

    def drawing(self, words: Sequence[int], image: Sequence[int], labels: Sequence[int] | None = None, pad: bool = True) -> Row:
        """``[iPAD].. <t2i> bos words eos <soi> image <eoi>``, padded on the left to M + 1 columns of words unless ``pad`` is off."""
        s, row = self.special, self.drawing_words(words)
        pads = self.text_length + 1 - len(row) if pad else 0
        ids = [*[s.ipad] * pads, *row, s.soi, *image, s.eoi]
        learned = [*[IGNORE] * pads, *row, s.soi, *(image if labels is None else labels), s.eoi]
        real = [*[0] * pads, *[1] * (len(ids) - pads)]
        return Row(ids, real, [1] * len(ids), learned)

    def drawing_dropped(self, image: Sequence[int], labels: Sequence[int]) -> Row:
        """The training row whose words were dropped for guidance."""
        return self.drawing([], image, labels)

    def looking(self, chat_ids: Sequence[int], image: Sequence[int]) -> list[int]:
        """``<mmu> <soi> image <eoi> chat``: the prompt of a question about a picture."""
        return [*self.looking_head(image), *self.begun(chat_ids)]

    def looking_head(self, image: Sequence[int]) -> list[int]:
        return [self.special.mmu, self.special.soi, *image, self.special.eoi]

    def _closed(self, words: Sequence[int], length: int) -> list[int]:
        """``bos words eos``, filled with eos to ``length``; too long: cut, and eos in the last column."""
        row = [*self.begun(words), self.special.eos]
        row = row if len(row) <= length else [*row[: length - 1], self.special.eos]
        return [*row, *[self.special.eos] * (length - len(row))]

    def _prompt(self, row: Sequence[int]) -> list[int]:
        """1 up to and including the last end of a header, else 0."""
        last = max((i for i, token in enumerate(row) if token == self.special.end_header), default=-1)
        return [int(i <= last) for i in range(len(row))]

    def looking_lesson(self, words: Sequence[int], image: Sequence[int]) -> Row:
        """A training row of understanding: picture, then M columns of conversation."""
        head, tail = self.looking_head(image), self._closed(words, self.text_length)
        ids = [*head, *tail]
        return Row(ids, [1] * len(ids), [*[1] * len(head), *self._prompt(tail)], [*[IGNORE] * len(head), *tail])

    def words_lesson(self, words: Sequence[int], length: int) -> Row:
        """A training row of words alone: ``bos words eos`` filled with eos to ``length``; too long: cut, without eos."""
        row = [*self.begun(words), self.special.eos][:length]
        row = [*row, *[self.special.eos] * (length - len(row))]
        return Row(row, [1] * length, self._prompt(row), row)

    def thinking_lesson(self, words: Sequence[int], image: Sequence[int]) -> Row:
        """A training row of a thought and its picture: ``<r2i> words(M) <soi> image <eoi>``; words without a header are all prompt."""
        s, row = self.special, self._closed(words, self.text_length)
        prompt = self._prompt(row) if s.end_header in row else [1] * len(row)
        ids = [s.r2i, *row, s.soi, *image, s.eoi]
        return Row(ids, [1] * len(ids), [1, *prompt, 1, *[0] * len(image), 1], ids)
