import json
from dataclasses import replace

import pytest
import torch
from bagel_toys import GOLDEN, other_folder
from safetensors.torch import load_file

from unimm import bagel
from unimm.bagel.generate import BagelModel
from unimm.bagel.golden import Shared
from unimm.bagel.options import EDITING, BagelOptions, from_options
from unimm.bagel.pictures import to_image
from unimm.document import Document, Image, Text
from unimm.errors import BadInput
from unimm.events import ImagePreview, PartDone, TextDelta
from unimm.model import Options, UnifiedModel, draw, write
from unimm.parity import Golden

CASES = load_file(GOLDEN / "cases.safetensors")
ROWS = {row["name"]: row for row in json.loads((GOLDEN / "cases.json").read_text())["cases"]}
PICTURE = to_image(CASES["edit_global.image0_u8"])
QUICK = BagelOptions(timesteps=5, width=48, height=32, think=False, previews=2, max_tokens=6)
EDIT = Document().user(PICTURE, Text("make the sky blue"))
FOX = Document().user(Text("a red fox in the snow"))


@pytest.fixture(scope="module")
def model():
    return bagel.load(GOLDEN)


def pixels(image: Image) -> torch.Tensor:
    return torch.frombuffer(bytearray(image.rgb), dtype=torch.uint8).view(image.height, image.width, 3).int()


def values(events) -> list:
    """Events without their clocks."""
    return [(event.part, event.stats.keys()) if isinstance(event, PartDone) else event for event in events]


def released(name: str) -> BagelOptions:
    """The options of a golden case."""
    row = ROWS[name]["params"]
    height, width = row["output_size_hw"]
    return BagelOptions(
        seed=row["seed"], guidance=row["cfg_text_scale"], image_guidance=row["cfg_img_scale"], guidance_from=row["cfg_interval"][0],
        renorm=row["cfg_renorm_type"], renorm_min=row["cfg_renorm_min"], timesteps=row["num_timesteps"], width=width, height=height,
        think=row.get("think", False), max_tokens=max(1, row.get("max_think_token_n", 2) - 1), step_cache=row["enable_taylorseer"],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["t2i_global", "t2i_think", "t2i_taylorseer"])
def test_the_interface_draws_the_reference_picture_from_its_seed(model, name):
    image = draw(model, FOX, released(name))
    assert (pixels(image) - CASES[f"{name}.image_out_u8"].int()).abs().max() <= 1


@pytest.fixture(scope="module")
def ruled():
    """The toy with the golden's own resize rules, which its config does not hold."""
    return BagelModel(Shared(Golden(GOLDEN)).checkpoint)


def test_answers_are_the_references(ruled):
    row = ROWS["text_stop"]["params"]
    assert write(ruled, Document().user(Text(row["prompt"])), BagelOptions(max_tokens=row["max_length"] - 1)) == row["text_out"]
    row = ROWS["understand_think"]["params"]
    question = Document().user(to_image(CASES["understand_think.image0_u8"]), Text("what is in this photo?"))
    assert write(ruled, question, BagelOptions(max_tokens=row["max_length"] - 1, reason=True)) == row["text_out"]


@pytest.mark.parametrize("name", ["edit_text_channel", "edit_think"])
def test_the_interface_edits_as_the_reference_does_from_its_seed(ruled, name):
    image = draw(ruled, EDIT, released(name))
    assert (pixels(image) - CASES[f"{name}.image_out_u8"].int()).abs().max() <= 1


def test_events_of_a_picture(model):
    assert isinstance(model, UnifiedModel)
    events = list(model.stream(EDIT, "image", QUICK))
    steps, done = events[:-1], events[-1]
    assert [event.done for event in steps] == [1, 2, 3, 4] and {event.total for event in steps} == {4}
    assert isinstance(done, PartDone) and steps[-1].image == done.part and done.stats["passes"] == 12
    height, width = model.reader.sized(PICTURE)
    assert {(event.image.width, event.image.height) for event in steps} == {(width, height)}


def test_a_thought_comes_first_and_given_back_leads_to_the_same_picture(model):
    options = BagelOptions(timesteps=4, width=32, height=32, max_tokens=5, seed=3, text_temperature=1.0)
    events = list(model.stream(FOX, "image", options))
    parts = [event.part for event in events if isinstance(event, PartDone)]
    assert isinstance(parts[0], Text) and isinstance(parts[1], Image)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == parts[0].text
    again = list(model.stream(FOX.assistant(parts[0]), "image", options))
    assert [event.part for event in again if isinstance(event, PartDone)] == parts[1:]
    assert draw(model, FOX.assistant(Text("something else")), options) != parts[1]


def test_interleaved_documents_in_any_order(model):
    small = Image(40, 40, bytes(40 * 40 * 3))
    documents = [
        Document().user(Text("one"), PICTURE, Text("two"), small, Text("three")),
        Document().user(PICTURE, small, Text("compare")),
        Document().user(Text("make it red"), PICTURE),
        Document().user(PICTURE, Text("who?")).assistant(Text("a cat"), small).user(Text("larger")),
    ]
    for document in documents:
        last = [part for turn in document.turns for part in turn.parts if isinstance(part, Image)][-1]
        image = draw(model, document, QUICK)
        assert (image.height, image.width) == model.reader.sized(last)
        assert isinstance(write(model, document, QUICK), str)


def test_remembered_contexts_change_nothing(model):
    document = EDIT.assistant(PICTURE).user(Text("now green"))
    cold = bagel.load(GOLDEN)
    cold.reader.remembered = 0
    first, warm = (list(values(model.stream(document, "image", QUICK))) for _ in range(2))
    assert first == warm == list(values(cold.stream(document, "image", QUICK)))
    assert len(cold.reader._known) == 1 < len(model.reader._known)
    asked, again = (write(model, document, QUICK) for _ in range(2))
    assert asked == again == write(cold, document, QUICK)


def test_seeds_and_interleaving(model):
    def stream(seed, want="image"):
        return model.stream(EDIT, want, BagelOptions(seed=seed, timesteps=4, think=False, text_temperature=1.0, max_tokens=6))

    one, two, said = (values(stream(1)), values(stream(2)), values(stream(3, "text")))
    assert one != two
    streams = [iter(stream(1)), iter(stream(2)), iter(stream(3, "text"))]
    found = [[], [], []]
    while any(streams):
        for place, events in enumerate(streams):
            if events is not None:
                event = next(events, None)
                if event is None:
                    streams[place] = None
                else:
                    found[place].append(event)
    assert [values(events) for events in found] == [one, two, said]


def test_cancel_in_mid_picture_stops_the_work_and_leaves_nothing(model, monkeypatch):
    expected = values(model.stream(EDIT, "image", QUICK))
    calls = []
    layer = model.bagel.language_model.model.forward
    monkeypatch.setattr(model.bagel.language_model.model, "forward", lambda *given: calls.append(1) or layer(*given))
    events = model.stream(EDIT, "image", QUICK)
    assert isinstance(next(events), ImagePreview)
    run = len(calls)
    events.close()
    assert len(calls) == run == 1
    assert values(model.stream(EDIT, "image", QUICK)) == expected
    asking = model.stream(EDIT, "text", QUICK)
    next(asking)
    asking.close()


def test_plain_options_take_the_released_settings():
    assert from_options(Options(), pictures=True) == EDITING
    row = from_options(Options(seed=7, guidance=6.0, max_tokens=9, think=False), pictures=False)
    assert (row.seed, row.guidance, row.max_tokens, row.think, row.top_k, row.guidance_from) == (7, 6.0, 9, False, 0, 0.4)
    own = BagelOptions(guidance=1.0)
    assert from_options(own, pictures=True) is own
    for wrong in ({"renorm": "local"}, {"timesteps": 1}, {"image_guidance": 0.5}, {"width": -1}):
        with pytest.raises(BadInput):
            BagelOptions(**wrong)


@pytest.mark.parametrize(
    ("document", "want", "options", "says"),
    [
        (Document(), "image", QUICK, "no words"),
        (Document().user(Text("  ")), "text", QUICK, "no words"),
        (Document().user(PICTURE), "text", QUICK, "no words"),
        (FOX.assistant(Text("a fox")), "text", QUICK, "Add a question"),
        (Document().user(Text("x" * 50_000)), "image", QUICK, "50000 characters"),
        (Document().user(Image(1, 1, b"abc"), Text("hi")), "text", QUICK, "too small"),
        (Document().user(Image(10_000, 10_000, bytes(300_000_000)), Text("hi")), "text", QUICK, "too large"),
        (FOX, "image", BagelOptions(width=40, think=False), "multiple of 16"),
        (FOX, "image", BagelOptions(height=256, think=False), "between 16 and 128"),
        (Document().user(*[PICTURE] * 420, Text("hi")), "text", QUICK, "tokens"),
    ],
    ids=["empty", "blank", "no words", "answered", "long", "tiny", "huge", "odd", "large", "many"],
)
def test_bad_input_is_named(model, document, want, options, says, monkeypatch):
    if says == "tokens":
        _small_limit(model, monkeypatch)
    with pytest.raises(BadInput, match=says):
        list(model.stream(document, want, options))
    assert write(model, FOX, BagelOptions(max_tokens=2)) is not None


def _small_limit(model, monkeypatch):
    """A context limit that a test reaches quickly, and leaves room for a short question."""
    config = model.bagel.config
    monkeypatch.setattr(model.bagel, "config", replace(config, language=replace(config.language, max_position_embeddings=300)))
    monkeypatch.setattr(model, "config", model.bagel.config)


def test_odd_pictures_are_resized(model):
    for size in ((9, 200), (500, 30), (8, 8)):
        odd = Image(*size, bytes(size[0] * size[1] * 3))
        image = draw(model, Document().user(odd, Text("more")), QUICK)
        assert (image.height, image.width) == model.reader.sized(odd)


def test_bfloat16_draws_nearly_the_same():
    half = bagel.load(GOLDEN, dtype=torch.bfloat16)
    assert half.bagel.dtype == torch.bfloat16 and half.autoencoder.decoder.conv_in.weight.dtype == torch.float32
    image = draw(half, FOX, released("t2i_global"))
    assert (pixels(image) - CASES["t2i_global.image_out_u8"].int()).float().abs().mean() < 12
    assert list(half.stream(EDIT, "text", QUICK))


def test_other_dimensions(tmp_path):
    model = bagel.load(other_folder(tmp_path / "other"))
    config = model.config
    assert (config.token_pixels, config.full_side, config.vision.num_hidden_layers, config.latent_width) == (8, 48, 1, 48)
    assert model.capabilities.image_sizes == (48,)
    options = BagelOptions(timesteps=3, max_tokens=4)
    image = draw(model, EDIT, options)
    assert (image.height, image.width) == model.reader.sized(PICTURE)
    assert draw(model, FOX, options).width == 48
    done = list(model.stream(EDIT, "text", options))[-1]
    assert 0 < done.stats["confidence"] <= 1 and done.stats["tokens"] <= 4
