"""The model as its callers see it: the same events whatever is cached, held, interleaved or cancelled."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

import pytest
import torch
from emu3_toy import ASKED, GOLDEN, GREEDY, SMALL, WANTED, pair_folder, parts, picture, toy

from unimm.analysis import attention_of
from unimm.document import Document, Image, Text
from unimm.emu3 import load
from unimm.emu3.bench import races
from unimm.emu3.language import Language, Rows
from unimm.emu3.options import Emu3Options, from_options
from unimm.emu3.prompts import conversation, drawing_words
from unimm.errors import BadInput
from unimm.events import ImagePreview, PartDone, TextDelta
from unimm.model import Options


@pytest.fixture(scope="module")
def model():
    return toy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pair_folder(tmp_path_factory.mktemp("pair"))


def shown(events):
    """Events without what a clock says."""
    return [replace(event, stats={k: v for k, v in event.stats.items() if k != "seconds"}) if isinstance(event, PartDone) else event
            for event in events]  # fmt: skip


def test_an_answer_is_told_as_it_is_written(model) -> None:
    *deltas, done = model.stream(ASKED, "text", SMALL)
    assert all(isinstance(event, TextDelta) for event in deltas) and "".join(event.text for event in deltas) == done.part.text
    assert done.stats["tokens"] == 6 and 0 < done.stats["confidence"] <= 1


def test_a_thought_then_previews_then_the_picture(model) -> None:
    events = list(model.stream(WANTED, "image", replace(SMALL, think=True)))
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds == [PartDone, ImagePreview, ImagePreview, ImagePreview, PartDone]
    previews = [event for event in events if isinstance(event, ImagePreview)]
    assert [event.done for event in previews] == [10, 15, 25] and {event.total for event in previews} == {25}
    assert all((event.image.width, event.image.height) == (10, 10) for event in previews)
    assert previews[0].image.rgb[4 * 30 :] == bytes([128]) * (6 * 30) and previews[0].image.rgb[: 4 * 30] != bytes([128]) * 120
    assert events[-1].part == previews[-1].image and events[-1].stats["passes"] == 24


def test_a_thought_given_is_the_thought_written(model) -> None:
    thought, drawn = parts(model, WANTED, "image", replace(GREEDY, think=True))
    assert parts(model, WANTED.assistant(thought), "image", replace(GREEDY, think=True)) == (drawn,)


def test_cache_is_no_cache(model) -> None:
    asked = ASKED.assistant(Text("w30 w31")).user(picture(90), Text("and now"))
    warm = [shown(model.stream(document, "text", SMALL)) for document in (ASKED, asked, asked)]
    gen = model.pair.get("chat")
    gen.remembered, before = 0, gen.remembered
    try:
        gen.forget()
        cold = [shown(model.stream(document, "text", SMALL)) for document in (ASKED, asked, asked)]
    finally:
        gen.remembered = before
    assert warm == cold


def test_rows_side_by_side_are_rows_alone(model) -> None:
    language = model.pair.get("gen")
    ids = language.ids
    with torch.inference_mode():
        long, short = language.read([[ids.bos, *range(20, 40)]]), language.read([[ids.bos, 50]])
        both = Rows(language, [long, short], 5)
        states = torch.cat([both.read([60]), both.read([61, ids.eol]), both.read([62])], 1)
        for row, prefix in enumerate((long, short)):
            alone = Rows(language, [prefix], 5)
            assert torch.allclose(states[row], torch.cat([alone.read([60]), alone.read([61, ids.eol]), alone.read([62])], 1)[0], atol=1e-5)
        whole = language.states(torch.tensor([[ids.bos, 50, 60, 61, ids.eol, 62]]))
        assert torch.allclose(states[1], whole[0, 2:], atol=1e-5)
        with pytest.raises(IndexError, match="no room"):
            both.read([1, 2])


def test_a_decoder_remembers_no_more_than_it_may(model) -> None:
    language = Language(model.pair.get("gen").net, model.pair.get("gen").config, remembered=12)
    with torch.inference_mode():
        for first in range(5):
            language.read([[first, 1, 2], [3, 4]])
    assert sum(prefix.length for prefix in language._prefixes.values()) <= 12


@pytest.mark.parametrize("parks", [False, True])
def test_swapping_gives_what_holding_gives(folder, parks) -> None:
    held, swapped = toy(folder, hold=True), toy(folder, hold=False)
    swapped.pair.parks = parks
    for want, document in (("text", ASKED), ("image", WANTED), ("text", WANTED)):
        assert shown(swapped.stream(document, want, SMALL)) == shown(held.stream(document, want, SMALL))
        assert parks or len(swapped.pair._made) == 1
    assert len(held.pair._made) == 2
    assert swapped.capabilities.memory_gb["fp32"] <= held.capabilities.memory_gb["fp32"]


def test_the_two_decoders_do_different_work(folder, model) -> None:
    both = toy(folder)
    assert parts(both, ASKED, "text", GREEDY) == parts(model, ASKED, "text", GREEDY)
    assert parts(both, WANTED, "image", GREEDY) != parts(model, WANTED, "image", GREEDY)


def test_same_seed_same_events_and_another_seed_others(model) -> None:
    first = shown(model.stream(WANTED, "image", SMALL))
    assert shown(model.stream(WANTED, "image", SMALL)) == first != shown(model.stream(WANTED, "image", replace(SMALL, seed=1)))


def test_interleaved_streams_are_streams_alone(folder) -> None:
    for model in (toy(folder, hold=True), toy(folder, hold=False)):
        asked = [(WANTED, "image", SMALL), (ASKED, "text", replace(SMALL, text_temperature=1.0)), (WANTED, "image", replace(SMALL, seed=9))]
        alone = [shown(model.stream(*row)) for row in asked]
        mixed = zip(*zip_longest(*(model.stream(*row) for row in asked)), strict=True)
        assert [shown(event for event in column if event is not None) for column in mixed] == alone


def test_a_closed_stream_leaves_nothing_behind(model) -> None:
    whole = shown(model.stream(WANTED, "image", SMALL))
    stream = model.stream(WANTED, "image", SMALL)
    next(stream)
    stream.close()
    writing = model.stream(ASKED, "text", SMALL)
    next(writing)
    writing.close()
    assert shown(model.stream(WANTED, "image", SMALL)) == whole


def test_bf16_runs() -> None:
    half = load(GOLDEN, dtype=torch.bfloat16)
    assert half.pair.get("gen").net.dtype == torch.bfloat16 and half.codec.net.dtype == torch.float32
    thought, drawn = parts(half, WANTED, "image", replace(SMALL, think=True))
    assert isinstance(thought, Text) and isinstance(drawn, Image)


def test_guidance_off_draws_with_one_row_and_no_negative(model) -> None:
    off = replace(GREEDY, guidance=1.0)
    assert parts(model, WANTED, "image", off) == parts(model, WANTED, "image", replace(off, negative="w33 w44"))
    assert parts(model, WANTED, "image", GREEDY) != parts(model, WANTED, "image", off)


def test_ratio_and_area_set_the_size(model) -> None:
    wide = parts(model, WANTED, "image", replace(GREEDY, ratio="16:9", area=144))[0]
    assert (wide.width, wide.height) == (16, 8)


def test_plain_options_take_the_published_guidance() -> None:
    assert from_options(Options()).guidance == 3 and from_options(Options(guidance=2)).guidance == 2
    assert from_options(Emu3Options(guidance=1.0)).guidance == 1
    with pytest.raises(BadInput, match="ratio"):
        Emu3Options(ratio="wide")
    with pytest.raises(BadInput, match="guidance"):
        Emu3Options(guidance=0.5)


# --- prompts


def test_chat_reads_pictures_first_and_the_assistants_with_the_next_question() -> None:
    one, two = picture(1), picture(2)
    document = Document().user(Text("look"), one).assistant(Text("done"), two).user(Text("is it right"))
    system = "You are a helpful assistant."
    assert conversation(document, 8) == [f"{system} USER: ", one, "look. ASSISTANT: done USER: ", two, "is it right. ASSISTANT:"]
    assert conversation(document, 1) == [f"{system} USER: look. ASSISTANT: done USER: ", two, "is it right. ASSISTANT:"]


def test_gen_draws_from_the_users_words_and_the_critique() -> None:
    document = Document().user(Text("a cat"), picture(1)).assistant(Text("here")).user(Text("is it red")).assistant(Text("no, make it red"))
    assert drawing_words(document) == "a cat is it red no, make it red"
    assert drawing_words(Document().user(Text("a cat ")), "a red cat") == "a cat a red cat"


# --- bad input


@pytest.mark.parametrize(
    ("document", "want", "says"),
    [
        (Document(), "text", "empty"),
        (Document().user(Text("  ")), "image", "empty"),
        (Document().user(Text("x" * 50_000)), "text", "too long"),
        (Document().user(Text("x" * 50_000)), "image", "too long"),
        (Document().user(Text("word " * 700)), "text", "too long"),
        (Document().user(Text("word " * 700)), "image", "too long"),
        (Document().user(picture(0, 1), Text("what")), "text", "1x1"),
        (Document().user(picture(0)), "image", "no words"),
        (ASKED.assistant(Text("so")), "text", "assistant's turn"),
    ],
)
def test_bad_input_is_named(model, document, want, says) -> None:
    with pytest.raises(BadInput, match=says):
        list(model.stream(document, want, SMALL))
    assert parts(model, ASKED, "text")


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (2500, 8), (8, 7)])
def test_absurd_pictures_are_refused(model, width, height) -> None:
    with pytest.raises(BadInput, match=f"{width}x{height}"):
        model.codec.prepare(Image(width, height, bytes(width * height * 3)))


# --- what looks at what


def test_attention_of_an_answer_and_of_a_picture(model) -> None:
    answer, drawing = (attention_of(model, document, want, GREEDY) for document, want in ((ASKED, "text"), (WANTED, "image")))
    for attention in (answer, drawing):
        maps = attention.maps
        assert len(maps) == 4 and all(torch.allclose(layer.sum(-1), torch.ones(())) for layer in maps)
        assert attention.output[-1][1] == maps[0].shape[-1] and attention.keys()
    assert answer.picture and answer.output[0][1] - answer.output[0][0] == 5
    assert drawing.output[0][1] - drawing.output[0][0] == 5 * 6 - 2


def test_races_hold_their_contracts() -> None:
    found = list(races(1, "small"))
    assert [race.what for race in found] == ["guidance", "drawing with a cache", "questions about a picture", "codes to a picture"]
    assert all(race.ratio > 0 and race.contract for race in found)
