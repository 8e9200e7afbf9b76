"""A released STAR as a model, at toy size: every way to load it, what it says, draws and edits, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from unimm.document import Document, Image, Text
from unimm.errors import BadInput, MissingWeights
from unimm.events import ImagePreview, LatentStep, PartDone, TextDelta
from unimm.model import Options, UnifiedModel
from unimm.star import load
from unimm.star.big import ReleasedStarModel
from unimm.star.checkpoint import convert
from unimm.star.line_canvas import LineCanvas
from unimm.star.options import GUIDANCE, StarOptions
from unimm.star.processor import Template
from unimm.star.words import FileWords, Letters

GOLDEN = Path(__file__).parents[2] / "golden" / "star"
SHORT = StarOptions(temperature=0.0, max_tokens=4)
REFINED = replace(SHORT, decoder="diffusion", diffusion_steps=3)


def picture(seed: int, width: int = 90, height: int = 60) -> Image:
    return Image(width, height, np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8).tobytes())


ASK = Document().user(picture(0), Text("what is this?"))
DRAW = Document().user(Text("a red cat"))
EDIT = Document().user(picture(1), Text("make it blue"))
LATER = ASK.assistant(Text("a dog")).user(picture(2, 40, 130), Text("and this?"))


@pytest.fixture(scope="module")
def model() -> ReleasedStarModel:
    loaded = load(GOLDEN)
    assert isinstance(loaded, ReleasedStarModel)
    return loaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The toy release in a folder that a test may damage."""
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(GOLDEN / name, tmp_path / name)
    return tmp_path


def facts(events: object) -> list[object]:
    """What a stream says, without its seconds."""
    return [(event.part, {**event.stats, "seconds": 0}) if isinstance(event, PartDone) else event for event in events]


def drawn(model: UnifiedModel, document: Document, options: Options) -> PartDone:
    return [event for event in model.stream(document, "image", options) if isinstance(event, PartDone)][-1]


def pt_folder(folder: Path, wrap: bool = True) -> Path:
    """The same weights as one released ``.pt``."""
    state = load_file(folder / "model.safetensors")
    torch.save({"state_dict": state} if wrap else state, folder / "STAR.pt")
    (folder / "model.safetensors").unlink()
    return folder


# Loading


@pytest.mark.parametrize("wrap", [True, False], ids=["state_dict", "bare"])
def test_the_released_pt_gives_the_same_model(model: ReleasedStarModel, folder: Path, wrap: bool) -> None:
    pt_folder(folder, wrap)
    for path in (folder, folder / "STAR.pt"):
        other = load(path)
        assert facts(other.stream(DRAW, "image", REFINED)) == facts(model.stream(DRAW, "image", REFINED))


def test_converted_once_it_is_still_the_same_model(model: ReleasedStarModel, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    convert(pt_folder(folder) / "STAR.pt", out, limit=1_000_000)
    assert (out / "config.json").is_file() and list(out.glob("diffusion_decoder-*.safetensors"))
    other = load(out)
    for document, want in ((EDIT, "image"), (ASK, "text")):
        assert facts(other.stream(document, want, REFINED)) == facts(model.stream(document, want, REFINED))


def test_parts_that_the_file_lacks_come_from_the_stock_models(model: ReleasedStarModel, folder: Path) -> None:
    state, data = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    data["language_model"]["model_path"] = "checkpoints/Qwen"
    data["pixel_decoder"]["model_path"] = "checkpoints/lumina-image2"
    (folder / "config.json").write_text(json.dumps(data))
    places = {"llm.": "Qwen/model", "pixel_encoder.": "VQ-Model", "diffusion_decoder.vae.": "lumina-image2/vae/diffusion_pytorch_model",
              "diffusion_decoder.text_encoder_one.": "lumina-image2/text_encoder/model"}  # fmt: skip
    for prefix, name in places.items():
        own = {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "VQ-Model":
            torch.save(own, folder / "VQ-Model.pt")
        else:
            save_file(own, path)
    save_file(state, folder / "model.safetensors")
    assert facts(load(folder).stream(EDIT, "image", REFINED)) == facts(model.stream(EDIT, "image", REFINED))


def test_the_decoder_may_stay_away(folder: Path) -> None:
    for other in (load(GOLDEN, decoder=False), load(_without_decoder(folder))):
        assert other.capabilities.image_sizes == (64,)
        assert isinstance(drawn(other, DRAW, SHORT).part, Image)
        with pytest.raises(BadInput, match="Choose the decoder 'vq'"):
            list(other.stream(DRAW, "image", REFINED))


def _without_decoder(folder: Path) -> Path:
    state = load_file(folder / "model.safetensors")
    save_file({key: value for key, value in state.items() if not key.startswith("diffusion")}, folder / "model.safetensors")
    return folder


def test_damaged_and_foreign_folders_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(MissingWeights, match=r"model\.safetensors"):
        load(folder)
    state = load_file(GOLDEN / "model.safetensors")
    save_file({key: value for key, value in state.items() if key != "stacked_ar.model.norm.weight"}, path)
    with pytest.raises(MissingWeights, match=r"stack\.norm\.weight"):
        load(folder)
    path.unlink()
    with pytest.raises(MissingWeights, match="no weights"):
        load(folder)
    (folder / "STAR.pt").write_bytes(b"not a zip file")
    with pytest.raises(MissingWeights, match=r"STAR\.pt"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(MissingWeights, match=r"config\.json"):
        load(folder)


def test_configs_of_other_models_are_refused(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "bagel", "hidden_size": 3}))
    with pytest.raises(MissingWeights, match=r"config\.json"):
        load(folder)
    del data["pixel_adapter"]
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(BadInput, match="pixel_adapter"):
        load(folder)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-pickle"),))


def test_a_pt_with_code_in_it_runs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"state_dict": Evil()}, folder / "STAR.pt")
    with pytest.raises(MissingWeights, match=r"STAR\.pt"):
        load(folder)
    assert not (folder / "touched-by-pickle").exists()


def test_without_a_tokenizer_only_a_toy_reads_letters(folder: Path, model: ReleasedStarModel) -> None:
    assert isinstance(model.words, Letters)
    assert model.words.decode(model.words.encode("a red cat, 3!")) == "a red cat, 3!"
    tokenizer = Tokenizer(models.WordLevel({"a": 5, "red": 6, "?": 7}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    assert load(folder, decoder=False).words.encode("a red red") == [5, 6, 6]
    assert load(GOLDEN, decoder=False, tokenizer=folder / "tokenizer.json").words.encode("red") == [6]
    given = FileWords(tokenizer)
    assert load(GOLDEN, decoder=False, tokenizer=given).words is given


def test_an_unquantisable_wish_is_refused() -> None:
    with pytest.raises(BadInput):
        load(quantize="nf4")


# Words and rows


class Qwenish:
    """Ids of Qwen's public tokenizer for the words of its template; other words one id a letter."""

    KNOWN: ClassVar = {
        "system\nYou are a helpful assistant.": [8948, 198, 2610, 525, 264, 10950, 17847, 13], "\n": [198], "user\n": [872, 198],
        "assistant\n": [77091, 198],
    }  # fmt: skip

    def encode(self, text: str) -> list[int]:
        return self.KNOWN.get(text) or [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def test_the_template_is_qwens() -> None:
    from unimm.star.chat import Chat
    from unimm.star.processor import SpecialIds

    chat = Chat(Qwenish(), SpecialIds())
    assert chat.template == Template()
    row = chat.row(DRAW, lambda image: 0)
    assert row == Template().drawing_row(Qwenish().encode("a red cat"))[:-1]
    later = chat.row(LATER, lambda image: image.width)
    assert later.count(SpecialIds().image_pad) == 90 + 40 and later.count(SpecialIds().im_start) == 5


def test_text_reads_every_picture_and_turn(model: ReleasedStarModel) -> None:
    said = [facts(model.stream(document, "text", SHORT)) for document in (
        ASK, LATER, Document().user(picture(9), Text("what is this?")), Document().user(Text("what is this?")))]  # fmt: skip
    assert len({str(events) for events in said}) == len(said)
    text, stats = said[0][-1]
    assert 0 < stats["confidence"] <= 1 and stats["tokens"] <= 4
    assert "".join(event.text for event in said[0] if isinstance(event, TextDelta)) == text.text


def test_a_greedy_answer_is_the_base_models_own(model: ReleasedStarModel) -> None:
    """Against the transformers class: the whole row again for each word, without any cache of ours."""
    star, seen = model.star, model._seen(ASK.turns[0].parts[0])
    ids = model.chat.row(ASK, lambda image: len(seen.tokens))
    from unimm.star.processor import at_least_min_side, vision_patches

    patches, grid = vision_patches(at_least_min_side(picture(0).to_pil()), *model.limits, model.sizes)
    expected: list[int] = []
    with torch.inference_mode():
        for _ in range(4):
            row = torch.tensor([[*ids, *expected]])
            kinds = (row == model.special.image_pad).int()
            out = star.base(input_ids=row, pixel_values=patches, image_grid_thw=torch.tensor([grid]), mm_token_type_ids=kinds)
            expected.append(int(out.logits[0, -1].argmax()))
    stream = model.stream(ASK, "text", replace(SHORT, repetition_penalty=1.0))
    assert [event for event in stream if isinstance(event, PartDone)][-1].part.text == model.words.decode(expected)


def test_a_repetition_penalty_changes_what_is_said(model: ReleasedStarModel) -> None:
    longer = replace(SHORT, max_tokens=12)
    plain, repelled = (facts(model.stream(ASK, "text", replace(longer, repetition_penalty=penalty))) for penalty in (1.0, 2.0))
    assert plain != repelled


# Drawing


def test_a_thought_comes_first_with_its_latents_and_the_picture_in_parts(model: ReleasedStarModel) -> None:
    events = list(model.stream(DRAW, "image", SHORT))
    thought = next(event for event in events if isinstance(event, PartDone))
    latents = [event for event in events if isinstance(event, LatentStep)]
    assert isinstance(thought.part, Text) and [latent.index for latent in latents] == list(range(int(thought.stats["tokens"])))
    assert all(len(latent.words) == 5 and latent.norm > 0 for latent in latents)
    previews = [event for event in events if isinstance(event, ImagePreview)]
    assert [event.done for event in previews] == [4, 8, 12, 16]
    top, bottom = (np.frombuffer(previews[0].image.rgb, np.uint8).reshape(64, 64, 3)[rows] for rows in (slice(0, 16), slice(16, 64)))
    assert (bottom == 128).all() and not (top == 128).all()
    assert events[-1].part == previews[-1].image and events[-1].stats["passes"] == 16


def test_the_thought_conditions_the_picture_by_its_hidden_states(model: ReleasedStarModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other states at the thought's places give other logits, and its words are not read a second time."""
    from unimm.star.reading import Reading

    reads: list[int] = []
    read = Reading.read
    monkeypatch.setattr(Reading, "read", lambda self, ids: (reads.append(len(ids)), read(self, ids))[1])
    events = list(model.stream(DRAW, "image", SHORT))
    tokens = int(next(event for event in events if isinstance(event, PartDone)).stats["tokens"])
    assert reads == [1] * (tokens + 1)  # each word as it is written, then the picture's opening mark
    plain = drawn(model, DRAW, replace(SHORT, think=False))
    given = [drawn(model, DRAW.assistant(Text(words)), SHORT) for words in ("whiskers", "zebra crossing at night")]
    assert len({done.part.rgb for done in (plain, *given, events[-1])}) > 2


def test_rewriting_replaces_the_words_as_released(model: ReleasedStarModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[int]] = []
    make = ReleasedStarModel._row
    monkeypatch.setattr(ReleasedStarModel, "_row", lambda self, ids, seen: (rows.append(ids[0].tolist()), make(self, ids, seen))[1])
    drawn(model, DRAW.assistant(Text("a cat, really")), replace(SHORT, reasoning="rewrite"))
    words = model.words.encode("a cat, really Ultra HD, 4K, cinematic composition")
    template = model.chat.template
    assert rows[0] == template.drawing_row(words)
    assert rows[1] == [rows[0][0], *[model.special.fim_pad] * (len(rows[0]) - 5), *rows[0][-4:]]


def test_an_edit_sees_the_source_in_tokens_and_in_pixels(model: ReleasedStarModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    canvas = LineCanvas.__init__
    monkeypatch.setattr(LineCanvas, "__init__", lambda self, rows, *rest: (seen.append((rows[0].length, rows[1].length)),
                        canvas(self, rows, *rest))[1])  # fmt: skip
    plain, other = (drawn(model, Document().user(picture(seed), Text("make it blue")), replace(SHORT, think=False)) for seed in (1, 2))
    assert plain.part != other.part and plain.stats["changed"] <= 16
    vision = len(model._seen(picture(1)).tokens)
    expected = len(model.chat.template.drawing_row(model.words.encode("make it blue"))) + 16 + vision + 5
    assert seen[0] == (expected, expected)
    words = drawn(model, Document().user(picture(1), Text("add a long row of green trees")), replace(SHORT, think=False))
    assert words.part != plain.part or words.stats["changed"] != plain.stats["changed"]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_draft_changes_the_passes_and_nothing_else(model: ReleasedStarModel, guidance: float) -> None:
    options = replace(SHORT, guidance=guidance, think=False)
    slow = drawn(model, EDIT, replace(options, speculative=False))
    fast = drawn(model, EDIT, options)
    assert fast.part == slow.part and slow.stats["passes"] == 16 and fast.stats["passes"] <= 16


@pytest.mark.parametrize("wrong", [(), (0,), (5, 6, 15)], ids=["all right", "first wrong", "three wrong"])
def test_a_draft_that_is_nearly_right_takes_few_passes(model: ReleasedStarModel, wrong: tuple[int, ...]) -> None:
    options, row = replace(SHORT, guidance=1.0), model.chat.template.drawing_row(model.words.encode("a red cat"))

    def ids(draft: torch.Tensor | None) -> LineCanvas:
        canvas = LineCanvas([model._row(torch.tensor([row]), None)], model.cells, draft)
        list(canvas.fill(options, torch.Generator()))
        return canvas

    truth = ids(None).ids
    draft = truth.clone()
    for place in wrong:
        draft[place] = (draft[place] + 1) % model.config.vq.codebook_size
    canvas = ids(draft)
    assert canvas.ids.equal(truth) and canvas.passes <= 2 * len(wrong) + 1


def test_the_diffusion_decoder_refines_in_sight(model: ReleasedStarModel) -> None:
    events = list(model.stream(EDIT, "image", REFINED))
    previews = [event for event in events if isinstance(event, ImagePreview)]
    assert [(event.done, event.total) for event in previews[-3:]] == [(1, 3), (2, 3), (3, 3)]
    done = events[-1]
    assert done.part == previews[-1].image and done.stats["steps"] == 3 and done.part.width == model.refiner.decoder.config.resolution
    assert done.part != drawn(model, EDIT, SHORT).part


# Seeds, streams and refusals


@pytest.mark.parametrize(("document", "want"), [(ASK, "text"), (DRAW, "image"), (EDIT, "image")], ids=["ask", "draw", "edit"])
def test_same_seed_same_events_alone_or_side_by_side(document: Document, want: str) -> None:
    options = replace(REFINED, temperature=1.0, text_temperature=1.0, seed=7, diffusion_steps=2)
    alone = facts(load(GOLDEN).stream(document, want, options))
    shared = load(GOLDEN)
    streams = [shared.stream(document, want, options), shared.stream(LATER, "text", options)]
    together = [first for first, _ in zip_longest(*streams) if first is not None]
    assert facts(together) == alone
    assert facts(shared.stream(document, want, replace(options, seed=8))) != alone


def test_closing_stops_between_tokens_and_steps_and_leaves_nothing(model: ReleasedStarModel, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    draw = LineCanvas._draw
    monkeypatch.setattr(LineCanvas, "_draw", lambda self, *rest: (passes.append(1), draw(self, *rest))[1])
    whole = drawn(model, DRAW, SHORT).part
    passes.clear()
    stream = model.stream(DRAW, "image", SHORT)
    next(event for event in stream if isinstance(event, ImagePreview))
    stream.close()
    assert 0 < len(passes) < 16
    refining = model.stream(DRAW, "image", replace(REFINED, diffusion_steps=50))
    next(event for event in refining if isinstance(event, ImagePreview) and event.total == 50)
    refining.close()
    assert drawn(model, DRAW, SHORT).part == whole


def test_plain_options_get_the_published_guidance_and_stars_own_mean_what_they_say() -> None:
    assert StarOptions.from_options(Options()).guidance == GUIDANCE
    assert StarOptions.from_options(Options(guidance=3.0, seed=4)) == StarOptions(
        guidance=3.0, seed=4, temperature=0.0, top_p=1.0, max_tokens=Options().max_tokens)  # fmt: skip
    own = StarOptions(guidance=1.0)
    assert StarOptions.from_options(own) is own


@pytest.mark.parametrize(
    "change", [{"reasoning": "loud"}, {"decoder": "paint"}, {"diffusion_steps": 201}, {"repetition_penalty": 0.5}],
    ids=lambda row: next(iter(row)),
)  # fmt: skip
def test_options_out_of_bounds_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=next(iter(change))):
        StarOptions(**change)


@pytest.mark.parametrize(
    ("document", "want"),
    [
        (Document(), "text"),
        (Document().user(Text("  ")), "image"),
        (Document().user(picture(0)), "image"),
        (Document().user(Text("x" * 50_000)), "text"),
        (Document().user(Text("x" * 5_000)), "image"),
        (Document().user(picture(0, 1, 1), Text("what?")), "text"),
        (Document().user(Image(10_000, 10_000, bytes(300_000_000)), Text("what?")), "image"),
        (Document().user(picture(0, 2000, 9), Text("what?")), "text"),
        (ASK.assistant(Text("a dog")), "text"),
    ],
    ids=["empty", "blank", "no words", "50,000 characters", "too long a row", "1x1", "10000x10000", "a thread", "nothing asked"],
)
def test_documents_that_cannot_be_answered(model: ReleasedStarModel, document: Document, want: str) -> None:
    with pytest.raises(BadInput):
        list(model.stream(document, want, SHORT))


def test_any_sane_picture_size_is_read(model: ReleasedStarModel) -> None:
    for size in ((8, 8), (20, 37), (500, 60)):
        document = Document().user(picture(3, *size), Text("what?"))
        assert list(model.stream(document, "text", SHORT))
        assert drawn(model, document, replace(SHORT, think=False)).part.width == 64


def test_bf16_works_on_this_machine() -> None:
    model = load(GOLDEN, dtype=torch.bfloat16)
    assert model.star.pixel_output_head.weight.dtype == torch.bfloat16
    assert list(model.stream(ASK, "text", SHORT))
    assert drawn(model, EDIT, replace(REFINED, diffusion_steps=2)).part.width == 64
