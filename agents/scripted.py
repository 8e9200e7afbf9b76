"""A model that answers from a script: for tests of everything that calls a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from agents.tasks import maze
from unimm.document import Document, Image, Part, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, LatentStep, ModelEvent, PartDone, TextDelta
from unimm.model import Capabilities, Options, Want

Item = Part | ModelEvent | Exception
Script = Callable[[Document, Want, Options], Iterable[Item]]

CAPABILITIES = Capabilities(
    understand=True, generate=True, edit=True, interleave=True, latents=True, image_sizes=(256,), licence="Apache-2.0", weights="none",
    taught=("maze",),
)


class ScriptedModel:
    """A ``UnifiedModel`` without weights.

    ``script`` is a function of the call, or a list with one entry a call. An answer is a sequence of parts (which are
    streamed as deltas, previews and a ``PartDone``), events (passed on as they are) and exceptions (raised there).
    ``calls`` records what was asked; ``closed`` counts the streams that their caller closed before the end.
    """

    def __init__(self, script: Script | Sequence[Iterable[Item]], name: str = "scripted") -> None:
        self.name = name
        self.capabilities = CAPABILITIES
        self.calls: list[tuple[Document, Want, Options]] = []
        self.closed = 0
        self._lock = threading.Lock()
        if callable(script):
            self._script: Script = script
        else:
            answers = iter(script)
            self._script = lambda *call: next(answers, (BadInput("The script has no answer left for this call."),))

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        with self._lock:
            self.calls.append((document, want, options))
            items = self._script(document, want, options)
        try:
            for item in items:
                if isinstance(item, Exception):
                    raise item
                yield from _say(item)
        except GeneratorExit:
            with self._lock:
                self.closed += 1
            raise


def _say(item: Part | ModelEvent) -> Iterator[ModelEvent]:
    match item:
        case Text(text=text):
            words = text.split(" ")
            for index, word in enumerate(words):
                yield TextDelta(word if index == 0 else f" {word}")
            for index, (word, length) in enumerate(zip(words, accumulate(map(len, words)), strict=True)):
                yield LatentStep(index, word, ((word, 0.75), (".", 0.25)), float(length), (0.25,) * 4, (2, 2))
            yield PartDone(item, {"seconds": 0.0, "tokens": len(words), "confidence": 0.9})
        case Image():
            yield ImagePreview(item, 32, 64)
            yield ImagePreview(item, 64, 64)
            yield PartDone(item, {"seconds": 0.0, "tokens": 64, "passes": 2})
        case _:
            yield item


Draw = Callable[[maze.Board, Options], maze.Board]
Redraw = Callable[[maze.Board, maze.Board, Options], maze.Board]
Judge = Callable[[maze.Board, maze.Board], maze.Verdict]


def maze_model(
    draw: Draw | None = None, redraw: Redraw | None = None, judge: Judge = maze.judge, name: str = "scripted maze",
) -> ScriptedModel:
    """A model that solves mazes by the rules, except where it is told to slip.

    ``draw(before, options)`` is the picture it draws first, ``redraw(before, wrong, options)`` what it makes of a picture
    that was found wrong, ``judge(before, after)`` its verdict. All are functions of the call alone, like a real model.
    """
    draw = draw or (lambda before, options: maze.next_board(before) or before)
    redraw = redraw or (lambda before, wrong, options: maze.next_board(before) or before)

    def script(document: Document, want: Want, options: Options) -> Iterator[Item]:
        asked = document.turns[0].parts
        pictures = [board_of(part) for part in asked if isinstance(part, Image)]
        words = next((part.text for part in asked if isinstance(part, Text)), "")
        given = next((part.text for part in document.turns[-1].parts if isinstance(part, Text)), "") if len(document.turns) > 1 else None
        if want == "text":
            yield Text(_reply(words, pictures, judge))
        elif words == maze.INSTRUCTIONS["judge"]:
            yield maze.render(redraw(pictures[0], pictures[1], options))
        else:
            if given is None and options.think:
                yield Text(maze.think_words(pictures[-1]))
            if not maze.done(given if given is not None else maze.think_words(pictures[-1])):
                yield maze.render(draw(pictures[-1], options))

    return ScriptedModel(script, name)


def _reply(words: str, pictures: list[maze.Board], judge: Judge) -> str:
    if words == maze.INSTRUCTIONS["judge"]:
        return maze.verdict_words(judge(pictures[0], pictures[1]))
    if words == maze.INSTRUCTIONS["describe"]:
        return maze.describe_words(pictures[-1])
    if words == maze.INSTRUCTIONS["route"]:
        return maze.route_words(pictures[-1])
    return maze.answer_words(maze.parse_moves(words))


@lru_cache(maxsize=64)
def board_of(picture: Image) -> maze.Board:
    """The board in one of our pictures."""
    board = maze.read(picture).board
    if board is None:
        raise BadInput("This picture shows no board.")
    return board
