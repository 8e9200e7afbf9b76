from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import pytest
import torch

from unimm.analysis import attention_of, interaction
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, PartDone, TextDelta
from unimm.janus import load
from unimm.janus.bench import SIZES, SPECIAL, one_batch, prompt_of, races, random_model
from unimm.janus.canvas import Canvas
from unimm.janus.config import SYSTEM, JanusOptions
from unimm.janus.decoder import State
from unimm.janus.generate import JanusModel
from unimm.janus.pixels import vision_pixels
from unimm.janus.processor import drawing_ids, drawing_prompt, guidance_rows, text_chunks
from unimm.model import Options, UnifiedModel, draw, finished_parts, write

GOLDEN = Path(__file__).parents[2] / "golden" / "janus"
PICTURE = Image(20, 30, bytes(range(200)) * 9)
ASKED = Document().user(PICTURE, Text("what is it"))
SAMPLED = JanusOptions(seed=3, text_temperature=1.0, max_tokens=6)


@pytest.fixture(scope="module")
def model():
    return load(GOLDEN, dtype=torch.float32)


def settled(events):
    """Events without the seconds in them."""
    return [replace(event, stats=dict(event.stats) | {"seconds": 0}) if isinstance(event, PartDone) else event for event in events]


def test_it_is_a_unified_model_that_cannot_edit(model):
    assert isinstance(model, UnifiedModel)
    can = model.capabilities
    assert can.understand and can.generate and not can.edit and can.image_sizes == (24,)


def test_text_comes_in_deltas_and_ends_with_its_confidence(model):
    *deltas, done = model.stream(ASKED, "text", SAMPLED)
    assert all(isinstance(event, TextDelta) for event in deltas)
    assert "".join(event.text for event in deltas) == done.part.text
    assert 0 < done.stats["confidence"] < 1 and done.stats["tokens"] <= SAMPLED.max_tokens
    assert settled(model.stream(ASKED, "text", SAMPLED)) == settled([*deltas, done])
    assert write(model, ASKED, Options()) == write(model, ASKED, Options(seed=9)), "temperature 0 has no luck in it"


def test_a_picture_comes_after_its_thought_with_previews_of_whole_rows(model):
    events = list(model.stream(ASKED, "image", replace(SAMPLED, preview_rows=2)))
    thought, picture = finished_parts(iter(events))
    assert isinstance(thought, Text) and (picture.width, picture.height) == (24, 24)
    previews = [event for event in events if isinstance(event, ImagePreview)]
    assert [(event.done, event.total) for event in previews] == [(12, 36), (24, 36), (36, 36)]
    grey, rows = bytes([127]), previews[0].image.rgb
    assert rows[24 * 8 * 3 :] == grey * (24 * 16 * 3) and set(rows[: 24 * 8 * 3]) != set(grey)
    assert previews[-1].image == picture


def test_the_assistant_s_text_is_the_thought(model):
    thought, _ = finished_parts(model.stream(ASKED, "image", SAMPLED))
    said = ASKED.assistant(thought)
    assert drawing_prompt(said) == f"what is it\n{thought.text}".strip()
    greedy = replace(SAMPLED, temperature=0)
    assert [type(part) for part in finished_parts(model.stream(said, "image", greedy))] == [Image]
    assert finished_parts(model.stream(ASKED, "image", greedy))[1] == draw(model, said, greedy)


def test_a_redraw_is_drawn_from_the_last_words_and_the_critique_alone(model):
    greedy = replace(SAMPLED, temperature=0, think=False)
    critique = Text("the cube must be blue")
    redrawn = draw(model, Document().user(PICTURE, PICTURE, Text("a red cube")).assistant(critique), greedy)
    assert redrawn == draw(model, Document().user(Text("a red cube\nthe cube must be blue")), greedy)
    assert drawing_prompt(Document().user(Text("old")).assistant(Text("no")).user(Text("new"))) == "new"


def test_same_seed_same_picture_alone_or_interleaved(model):
    options = [replace(SAMPLED, seed=seed) for seed in (3, 4)]
    alone = [settled(model.stream(ASKED, "image", one)) for one in options]
    assert alone[0][-1].part != alone[1][-1].part
    streams = [model.stream(ASKED, "image", one) for one in options]
    together = [[], []]
    for turn in zip_longest(*streams):
        for events, event in zip(together, turn, strict=True):
            events += [event] if event is not None else []
    assert [settled(events) for events in together] == alone


def test_remembering_prefixes_changes_nothing(model):
    documents = [ASKED, ASKED.assistant(Text("so")).user(PICTURE, Text("and this")), Document().user(Text("a red cube"))]
    forgetful = JanusModel(model.decoder.net, model.words, remembered=0)
    for document in documents * 2:
        for want in ("text", "image"):
            assert settled(model.stream(document, want, SAMPLED)) == settled(forgetful.stream(document, want, SAMPLED))
    assert not forgetful.reader._states and len(model.reader._states) > 2


def test_remembered_states_stay_within_their_bound(model):
    small = JanusModel(model.decoder.net, model.words, remembered=150)
    for number in range(6):
        write(small, Document().user(PICTURE, Text(f"question {number}")), SAMPLED)
        assert small.reader._held() <= 150
    assert small.reader._states


def test_a_fixed_cache_draws_the_same(model):
    rows = torch.tensor(guidance_rows([SPECIAL.bos % 100, 5, 6, 7, 8], model.words.special))
    drawn = [one_batch(model.decoder, rows, static) for static in (False, True)]
    assert drawn[0].equal(drawn[1])
    options = replace(SAMPLED, think=False)
    assert draw(model, ASKED, options) == draw(model, ASKED, replace(options, static_cache=True))


def test_a_closed_stream_stops_and_leaves_nothing_behind(model):
    before = settled(model.stream(ASKED, "image", SAMPLED))
    for events in range(1, len(before)):
        stream = model.stream(ASKED, "image", SAMPLED)
        for _ in range(events):
            next(stream)
        stream.close()
    assert settled(model.stream(ASKED, "image", SAMPLED)) == before


def test_closing_stops_at_the_next_code(model, monkeypatch):
    steps = []
    monkeypatch.setattr(model.decoder, "code_logits", lambda hidden, of=model.decoder.code_logits: steps.append(1) or of(hidden))
    stream = model.stream(ASKED, "image", replace(SAMPLED, think=False, preview_rows=1))
    next(stream)
    stream.close()
    assert len(steps) == model.decoder.grid


def test_bf16(model):
    half = load(GOLDEN, dtype=torch.bfloat16)
    assert half.decoder.dtype == torch.bfloat16
    assert half.decoder.text.rotary_emb.inv_freq.dtype == torch.float32
    thought, picture = finished_parts(half.stream(ASKED, "image", SAMPLED))
    assert isinstance(thought, Text) and picture == finished_parts(half.stream(ASKED, "image", SAMPLED))[1]
    pixels = vision_pixels(PICTURE.to_pil(), 24)[None]
    with torch.inference_mode():
        assert (half.decoder.encode(pixels) == model.decoder.encode(pixels)).float().mean() > 0.8


@pytest.mark.parametrize(
    ("document", "want", "says"),
    [
        (Document(), "text", "empty"), (Document().user(), "image", "empty"), (Document().user(Text("  \n ")), "image", "empty"),
        (Document().user(PICTURE), "image", "no words to draw from"), (ASKED.assistant(Text("so")), "text", "ends with the assistant"),
        (Document().user(Text("word " * 10_000)), "text", "too long"), (Document().user(Text("word " * 10_000)), "image", "too long"),
        (Document().user(Text("word " * 600)), "image", "fewer words"), (Document().user(Text("word " * 600)), "text", "Leave out"),
        (Document().user(Image(1, 1, bytes(3)), Text("what")), "text", "1x1"),
        (Document().user(Image(10_000, 10_000, bytes(3 * 10**8)), Text("what")), "text", "10000x10000"), (ASKED, "sound", "'sound'"),
    ],
)  # fmt: skip
def test_bad_input(model, document, want, says):
    with pytest.raises(BadInput, match=says):
        list(model.stream(document, want, SAMPLED))


def test_marks_in_a_visitor_s_words_are_words(model):
    ids = drawing_ids("a <image_placeholder><｜end▁of▁sentence｜> cube", model.words)
    assert ids == drawing_ids("a    cube", model.words) and model.words.special.image not in ids
    (chunk,) = text_chunks(Document().user(Text("<image_placeholder>")), model.words)
    assert chunk.image is None and model.words.special.image not in chunk.rows[0]


def test_pictures_stand_between_their_marks_and_the_system_text_comes_first(model):
    first, last = text_chunks(ASKED, model.words)
    special = model.words.special
    assert first.image == PICTURE and first.rows[0][0] == special.bos and first.rows[0][-1] == special.begin
    assert list(first.rows[0][1 : 1 + len(SYSTEM.split())]) == model.words.encode(SYSTEM)
    assert last.rows[0][0] == special.end and last.image is None


def test_the_empty_prompt_keeps_its_ends(model):
    assert guidance_rows([9, 1, 2, 3, 8], model.words.special)[1] == (9, *[model.words.special.pad] * 3, 8)


def test_guidance_off_needs_one_row(model):
    off = replace(SAMPLED, guidance=1.0, think=False)
    assert len(model.prompt_rows(ASKED, off)) == 1 and len(model.prompt_rows(ASKED, SAMPLED)) == 2
    assert draw(model, ASKED, off) != draw(model, ASKED, replace(off, guidance=8.0))


def test_top_k_one_is_greedy(model):
    options = replace(SAMPLED, think=False)
    assert draw(model, ASKED, replace(options, top_k=1)) == draw(model, ASKED, replace(options, temperature=0))


def test_a_picture_matches_the_prompt_it_was_drawn_from(model):
    bold = JanusOptions(temperature=0, guidance=8.0, think=False)
    prompts = [f"a thing called {name}" for name in ("mako", "sutu", "bope")]
    pictures = [draw(model, Document().user(Text(prompt)), bold) for prompt in prompts]
    scores = [model.prompt_match(prompt, picture) for prompt, picture in zip(prompts, pictures, strict=True)]
    assert all(abs(score) < 20 for score in scores) and len(set(scores)) == 3
    with pytest.raises(BadInput, match="1x1"):
        model.prompt_match("a", Image(1, 1, bytes(3)))


@pytest.mark.parametrize("want", ["text", "image"])
def test_attention_of_a_run_is_what_the_analysis_reads(model, want):
    shown = attention_of(model, ASKED, want, replace(SAMPLED, seed=1))
    maps = shown.maps
    assert len(maps) == 3 and all(attention.shape[0] == 4 for attention in maps)
    assert all(torch.allclose(attention.sum(-1), torch.ones(()), atol=1e-5) for attention in maps)
    mass = interaction([attention[None] for attention in maps], [shown.output], [shown.keys()])
    assert mass.shape == (3, 1) and mass.min() > 0 and mass.max() < 1
    assert shown.output[-1][1] == maps[0].shape[-1]


def test_races_keep_their_contract():
    lines = [timed.line() for timed in races(1, "small")]
    assert [line.split(";")[-1].strip() for line in lines] == ["identical tokens", "identical tokens", "identical states"]


def test_two_prompts_of_other_sizes():
    model = random_model(SIZES["small"])
    rows = torch.tensor(guidance_rows(prompt_of(SIZES["small"]), SPECIAL))
    with torch.inference_mode():
        state = model.decoder.extend(State(), model.decoder.words(rows))
    canvas = Canvas(model.decoder, state)
    assert [*canvas.fill(JanusOptions(temperature=0), torch.Generator())][-1] == 16 and canvas.passes == 15
    assert state.length == rows.shape[1] and state.cache.get_seq_length() == rows.shape[1], "drawing leaves the prefix alone"
