"""Words guessed from what was written before: fewer passes, the same words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from toy_star import toy_model

from unimm.document import Document, Image, Text
from unimm.events import PartDone, TextDelta
from unimm.model import Options
from unimm.star.generate import StarModel
from unimm.star.recital import Recital

OPTIONS = Options(max_tokens=24)


def question(shade: int, words: str = "maze judge") -> Document:
    return Document().user(Image(256, 256, bytes([shade]) * (3 * 256 * 256)), Text(words))


def written(model: StarModel, document: Document, options: Options = OPTIONS) -> tuple[str, PartDone, int]:
    """The words of a reply, its end, and in how many passes it was written."""
    passes, step = [0], model.reader.step

    def counted(*given: object, **more: object) -> object:
        passes[0] += 1
        return step(*given, **more)

    model.reader.step = counted  # type: ignore[method-assign]
    events = list(model.stream(document, "text", options))
    model.reader.step = step  # type: ignore[method-assign]
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1], passes[0]


def test_a_reply_given_again_takes_few_passes_and_is_the_same() -> None:
    model = toy_model()
    words, end, slow = written(model, question(40))
    again, same, fast = written(model, question(40))
    assert words == again == end.part.text == same.part.text and fast < slow / 2
    assert len(same.stats["chances"]) == same.stats["tokens"] == end.stats["tokens"] == 24
    assert same.stats["chances"] == pytest.approx(end.stats["chances"], abs=1e-4)


@pytest.mark.parametrize("earlier", [[], [5] * 30, list(range(60)), list(range(200, 100, -1))], ids=["nothing", "one", "up", "down"])
def test_whatever_was_written_before_the_words_are_the_same(earlier: Sequence[int]) -> None:
    model = toy_model()
    model._written = list(earlier)
    for shade in (10, 90, 200):
        alone, *_ = written(toy_model(), question(shade))
        assert written(model, question(shade))[0] == alone


def test_what_is_drawn_after_a_guessed_reply_is_what_is_drawn_after_it_read_anew() -> None:
    model = toy_model()
    written(model, question(40))
    words, *_ = written(model, question(60))
    asked, options = question(60).assistant(Text(words)), Options(max_tokens=6, seed=3, temperature=1.0)
    one, other = (list(each.stream(asked, "image", options))[-1].part for each in (model, toy_model()))
    assert one == other


def test_samples_are_not_guessed() -> None:
    options = dataclasses.replace(OPTIONS, text_temperature=1.0, seed=5)
    model = toy_model()
    written(model, question(40))
    words, _, passes = written(model, question(40), options)
    assert (words, passes) == (written(toy_model(), question(40), options)[0], 24)


def test_a_recital_stays_where_something_is_put_in_and_moves_where_the_texts_meet() -> None:
    recital = Recital([1, 2, 3, 4, 5, 6, 7, 8])
    assert recital.guess(3) == [1, 2, 3]
    for token in (1, 2, 90):
        recital.follow(token)
    assert recital.guess(3) == [3, 4, 5]
    recital.follow(91)
    assert recital.guess(3) == []  # strange for too long
    for token in (6, 7):
        recital.follow(token)
    assert recital.guess(9) == [8]
    recital.follow(8)
    assert recital.guess(9) == []
