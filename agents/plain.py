"""The agent's questions in plain language, for models that were never taught its own words, and their replies read again.

Everything a question says comes from the task's record. Replies are free text: thoughts in think tags and decoration are
passed over, but what is no clear verdict never counts as "right".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image as PILImage

from agents.tasks import Task, Verdict
from unimm.document import Document, Image, Text
from unimm.model import Capabilities

LONGEST_CRITIQUE = 300
"""Characters of a critique that go into the request to redraw."""
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_DECORATION = re.compile(r"[*_`#>\"“”]+")
_LEAD = r"^\W*(?:(?:the )?(?:verdict|answer|result|reply)\s*(?:is)?\s*[:=\-]?\s*)?"
_RIGHT = re.compile(rf"{_LEAD}correct\b")
_ONLY_RIGHT = re.compile(rf"{_LEAD}correct\W*$")
_WRONG = re.compile(rf"{_LEAD}(?:wrong|incorrect|not correct)\b")
_SAYS_RIGHT = re.compile(
    r"\b(?:picture|image|drawing|half|step|one|it|this) is (?:(?:exactly |entirely |completely |fully )?correct|exactly right)\b"
)
_DOUBT = re.compile(r"\b(?:wrong|incorrect|not|no|if|whether|cannot|mistakes?|errors?|except|but|or)\b|n't\b|\?")
_STEP = re.compile(r"\b(?:go|goes|going|move|moves|moving|step|steps)(?: (?:one|a|single|the|it|to|cell|square|step|agent))* ")
_DONE = re.compile(r"(?:^|[.:;,\-–—])\W*done\W*$")


@dataclass(frozen=True)
class Plain:
    """Plain words for one task and one model."""

    task: Task
    can: Capabilities

    taught = False

    # --- questions

    def next_step(self, problem: Any, current: Image, thought: str | None = None) -> Document:
        """Think and draw the next picture; with ``thought`` given, draw it from those words."""
        think = f"First say in one short sentence what changes next, ending with {self._moves}; `done` if nothing is left to do."
        draw = "Then draw the next picture. Keep all else exactly as it is." if self.can.edit else self._anew(current)
        asked = Document().user(current, Text(f"{self._task(problem)} {think} {draw}"))
        return asked if thought is None else asked.assistant(Text(thought))

    def judge(self, problem: Any, before: Image, after: Image) -> Document:
        """Is ``after`` a right next picture of ``before``? A model that looks at one picture at a time gets both in one."""
        if self.can.interleave:
            return Document().user(before, after, Text(verdict_question(self.task, problem)))
        side_by_side = Text(verdict_question(self.task, problem, "The left half of this picture is before, the right half is after."))
        return Document().user(beside(before, after), side_by_side)

    def revise(self, problem: Any, before: Image, wrong: Image, verdict: str) -> Document:
        """Redraw ``wrong`` into the right next picture of ``before``; without editing, from all that must be on it in words."""
        said = " ".join(verdict.split())[:LONGEST_CRITIQUE]
        if self.can.edit:
            parts = [before, wrong] if self.can.interleave else [wrong]
            shown = "These are the picture before and the next one as it was drawn." if self.can.interleave else "This is a drawn picture."
            fault = f"It has this fault: {said} Redraw the last picture without it. Keep all else exactly as it is."
            return Document().user(*parts, Text(f"{self._task(problem)} {shown} {fault}"))
        words = f"{self._task(problem)} {self._anew(before)} An earlier try had this fault: {said} Do not repeat it."
        return Document().user(before, wrong, Text(words))

    def answers(self, problem: Any, picture: Image, moves: Sequence[str] = ()) -> tuple[Document, ...]:
        """Say the answer after all pictures are drawn, from the moves that they show or from the last picture."""
        if self.task.walked_words is not None:
            listed = ", ".join(moves) if moves else "none"
            return (Document().user(Text(f"These moves were made, in this order: {listed}. Reply with all of them in order on one line.")),)
        if "answer" not in self.task.asks(problem):
            return ()
        words = f"{self._task(problem)} All that helps is drawn in now. Reply with the answer on one line, as `answer : ANSWER .`."
        return (Document().user(picture, Text(words)),)

    def direct(self, problem: Any, picture: Image) -> Document:
        """Say the answer at one glance, without drawing; where the answer is a picture, draw it at once."""
        if self.task.walked_words is not None:
            words = "Which moves lead from here to the end? Reply with all moves in order on one line and nothing else."
        elif "answer" in self.task.asks(problem):
            words = "Reply with the answer on one line, as `answer : ANSWER .`, and nothing else."
        else:
            words = "Draw the finished picture." if self.can.edit else self._anew(picture)
        return Document().user(picture, Text(f"{self._task(problem)} {words}"))

    def retell(self, problem: Any, words: str, *pictures: Image) -> Document:
        """Pictures and what was thought or said of them as a user's turn: what is drawn after it has read the words anew."""
        said = " ".join(words.split())[:LONGEST_CRITIQUE]
        draw = "Draw the next picture so. Keep all else exactly as it is." if self.can.edit else self._anew(pictures[0])
        return Document().user(*pictures, Text(f"{self._task(problem)} {said} {draw}"))

    def _task(self, problem: Any) -> str:
        return f"This picture belongs to a {self.task.name} task. {self.task.rules}{_request(self.task, problem)}"

    @property
    def _moves(self) -> str:
        return self.task.move_form or "what you decide on"

    def _anew(self, before: Image) -> str:
        """The request to draw a whole picture from words."""
        shown = self.task.picture_words(before)
        return f"Draw the whole next picture anew. {f'The picture before shows: {shown} ' if shown else ''}Only that change is made to it."

    # --- replies

    def done(self, thought: str) -> bool:
        """Does this thought decide that nothing is left to draw? Only where its last line ends with that."""
        lines = _lines(thought)
        return bool(lines) and _DONE.search(lines[-1]) is not None

    def parse_move(self, thought: str) -> str | None:
        """The move that a thought decides on last."""
        parse = self.task.parse_move
        moves = (parse(_STEP.sub("go ", line)) for line in reversed(_lines(thought))) if parse is not None else ()
        return next((move for move in moves if move), None)

    def parse_answer(self, text: str) -> tuple[str, ...]:
        """What an answer in free words says."""
        return self.task.parse_answer(" ".join(_lines(text)))

    def parse_verdict(self, text: str) -> Verdict | None:
        """(ok, kind of fault, where) of a verdict in free words; None where it is no clear verdict."""
        return parse_verdict(self.task, text)


def _request(task: Task, problem: Any) -> str:
    words = task.request(problem)
    return f" The request is: {words}" if words else ""


def verdict_question(task: Task, problem: Any, shown: str = "") -> str:
    """Whether the second picture is right, for a model that was not trained on our words, and how to reply."""
    opening = shown or f"These two pictures are one step of a {task.name} task: before and after."
    return (
        f"{opening} {task.rules}{_request(task, problem)} "
        f"Is the {'right half' if shown else 'second picture'} exactly right? Reply with one line and nothing else, either `correct .` or "
        "`wrong . FAULT at CELL .`, where CELL is a column letter from the left and a row number from the top (a1 is the top left cell "
        f"of the {'board' if task.parse_move else 'picture'}), and FAULT is one of: {', '.join(task.faults.values())}."
    )


def parse_verdict(task: Task, text: str) -> Verdict | None:
    """See ``Plain.parse_verdict``."""
    lines = _lines(text)
    wrong = next((line for line in lines if _WRONG.search(line)), None)
    if wrong is None:
        whole = " ".join(lines)
        bare = any(_ONLY_RIGHT.search(line) for line in lines)
        said = any(_RIGHT.search(line) for line in lines) or _SAYS_RIGHT.search(whole)
        if bare or (said and not _DOUBT.search(whole) and not any(fault in whole for fault in task.faults.values())):
            return True, None, None
        wrong = next((line for line in lines if "wrong" in line and "correct" not in line), None)
    return None if wrong is None or _RIGHT.search(wrong) or " or " in wrong else _fault(task, wrong)


def _fault(task: Task, line: str) -> Verdict:
    """What a line that says "wrong" names: the fault that comes first in it, and the cell behind "at" or "cell"."""
    named = min((fault for fault in task.faults.values() if fault in line), key=line.find, default=None)
    if named is None:
        return False, None, None
    cell = re.search(r"\b(?:at|cell)(?: cell)? ([a-z]\d{1,2})\b", line)
    return task.parse_verdict(f"wrong . {named} at {cell[1]} ." if cell else f"wrong . {named} .")


def _lines(text: str) -> list[str]:
    """What a model says in the end, line by line, in lower case and without decoration."""
    spoken = _DECORATION.sub("", _THINKING.sub("\n", text)).lower()
    return [" ".join(line.split()) for line in spoken.splitlines() if line.strip()]


def beside(left: Image, right: Image) -> Image:
    """Two pictures in one, for a model that looks at one at a time."""
    gap = max(left.height // 16, 1)
    sheet = PILImage.new("RGB", (left.width + gap + right.width, max(left.height, right.height)), "white")
    sheet.paste(left.to_pil(), (0, 0))
    sheet.paste(right.to_pil(), (left.width + gap, 0))
    return Image.from_pil(sheet)
