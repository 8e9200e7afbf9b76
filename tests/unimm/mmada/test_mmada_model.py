import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from unimm import mmada
from unimm.document import Document, Image, Text
from unimm.errors import BadInput, MissingWeights, UnimmError
from unimm.events import ImagePreview, PartDone, TextDelta
from unimm.mmada import edit
from unimm.mmada.bench import random_backbone
from unimm.mmada.config import PUBLISHED, BackboneConfig, VQConfig
from unimm.mmada.options import MmadaOptions
from unimm.mmada.vq import MagvitV2
from unimm.mmada.words import Letters
from unimm.model import Options, UnifiedModel, finished_parts

GOLDEN = Path(__file__).parents[2] / "golden" / "mmada"
FAST = {"image_steps": 4, "think": False, "max_tokens": 16}


@pytest.fixture(scope="module")
def model():
    return mmada.load(GOLDEN)


@pytest.fixture
def folder(tmp_path):
    """A copy of the model folder that a test may damage."""
    names = ("config.json", "model.safetensors")
    for name in names:
        shutil.copy(GOLDEN / name, tmp_path / name)
    shutil.copytree(GOLDEN / "vq", tmp_path / "vq")
    return tmp_path


def picture(width: int = 64, height: int = 64, seed: int = 0) -> Image:
    return Image(width, height, np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8).tobytes())


def pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


def asked(*parts) -> Document:
    return Document().user(*(Text(part) if isinstance(part, str) else part for part in parts))


def essence(events) -> list:
    """Events without what depends on the clock."""
    return [(one.part, {**one.stats, "seconds": 0}) if isinstance(one, PartDone) else one for one in events]


CASES = [
    (asked("what is it?"), "text", MmadaOptions(text_temperature=1.0, max_tokens=16)),
    (asked(picture(), "what is it?"), "text", MmadaOptions(text_temperature=1.0, max_tokens=16, text_cache="dual", thinking=True)),
    (asked("a cat"), "image", MmadaOptions(image_steps=4, max_tokens=16)),
    (asked(picture(), "a cat"), "image", MmadaOptions(**FAST, image_cache="settled")),
    (asked(picture(90, 50), "a cat"), "image", MmadaOptions(**FAST, mask_right=0.5)),
    (asked(picture(50, 90), "a cat"), "image", MmadaOptions(**FAST, extend_bottom=0.5)),
]


def test_it_is_a_unified_model(model):
    assert isinstance(model, UnifiedModel)
    assert model.capabilities.edit and not model.capabilities.interleave and model.capabilities.image_sizes == (64,)


@pytest.mark.parametrize(("document", "want", "options"), CASES)
def test_same_seed_same_events_another_seed_others(model, document, want, options):
    first = essence(model.stream(document, want, options))
    assert first == essence(model.stream(document, want, options))
    other = MmadaOptions(**{**vars(options), "seed": 5})
    assert first != essence(model.stream(document, want, other))


def test_interleaved_streams_equal_lone_ones(model):
    lone = [essence(model.stream(*case)) for case in CASES]
    streams = [model.stream(*case) for case in CASES]
    mixed: list[list] = [[] for _ in CASES]
    while any(streams):
        for number, stream in enumerate(streams):
            if stream is not None:
                event = next(stream, None)
                if event is None:
                    streams[number] = None
                else:
                    mixed[number].append(event)
    assert [essence(events) for events in mixed] == lone


def test_a_text_streams_what_it_says(model):
    events = list(model.stream(asked("say it"), "text", MmadaOptions(max_tokens=24, text_temperature=0.7)))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == events[-1].part.text
    stats = events[-1].stats
    assert 0 <= stats["confidence"] <= 1 and stats["tokens"] <= 24 and stats["passes"] >= 1


def test_a_picture_thinks_first_and_shows_every_step(model):
    events = list(model.stream(asked("a cat"), "image", MmadaOptions(image_steps=5, max_tokens=16)))
    kinds = [type(event) for event in events]
    thought = kinds.index(PartDone)
    assert isinstance(events[thought].part, Text) and set(kinds[:thought]) == {TextDelta}
    previews = [event for event in events if isinstance(event, ImagePreview)]
    assert len(previews) == 5 and [one.done for one in previews] == sorted(one.done for one in previews)
    assert previews[-1].done == previews[-1].total == 16 and previews[-1].image == events[-1].part


def test_a_given_thought_is_drawn_from(model):
    options, wish = MmadaOptions(image_steps=4, temperature=0.0), asked("a cat")
    events = list(model.stream(wish.assistant(Text("<think>all white</think>")), "image", options))
    assert len(finished_parts(iter(events))) == 1
    bare = list(model.stream(wish.assistant(Text("")), "image", options))
    assert essence(events) != essence(bare)


def test_plain_options_take_the_published_guidance():
    assert MmadaOptions.from_options(Options()).guidance == 4.5 and MmadaOptions.from_options(Options()).top_k == 0
    assert MmadaOptions.from_options(Options(guidance=2.0, seed=3)).guidance == 2.0
    own = MmadaOptions(guidance=1.0)
    assert MmadaOptions.from_options(own) is own


def test_closing_in_mid_picture_leaves_nothing_behind(model):
    document, options = asked(picture(), "a cat"), MmadaOptions(image_steps=8, think=False)
    whole = essence(model.stream(document, "image", options))
    stream = model.stream(document, "image", options)
    assert isinstance(next(stream), ImagePreview)
    stream.close()
    assert next(stream, None) is None and not torch.is_inference_mode_enabled()
    assert essence(model.stream(document, "image", options)) == whole


@pytest.mark.parametrize("size", [(64, 64), (150, 70), (33, 47)])
def test_inpainting_keeps_known_tokens_and_pixels(model, size):
    source = picture(*size)
    options = MmadaOptions(**FAST, mask_left=0.5, mask_top=0.5)
    result = finished_parts(model.stream(asked(source, "a cat"), "image", options))[-1]
    assert (result.width, result.height) == size
    where = edit.place(source, model.side, options.extend)
    cells = edit.region(where, options.region)
    assert 0 < int(cells.sum()) < len(cells)
    grid = cells.view(model.side, model.side).numpy()
    inside = grid[np.arange(size[1]) * model.side // size[1]][:, np.arange(size[0]) * model.side // size[0]]
    assert np.array_equal(pixels(result)[~inside], pixels(source)[~inside])
    assert not np.array_equal(pixels(result)[inside], pixels(source)[inside])


def codes_of_steps(model, monkeypatch, document, options):
    """The complete draws of every step of a picture."""
    steps, shown = [], model._shown
    monkeypatch.setattr(model, "_shown", lambda step, sheet: steps.append((step, sheet)) or shown(step, sheet))
    list(model.stream(document, "image", options))
    return steps


@pytest.mark.parametrize("more", [{"mask_right": 0.5}, {"extend_left": 0.5}, {"strength": 0.25}])
def test_known_tokens_stay_at_every_step(model, monkeypatch, more):
    steps = codes_of_steps(model, monkeypatch, asked(picture(), "a cat"), MmadaOptions(**FAST, **more))
    masked = steps[0][0].chances[0] < 2  # known slots carry the largest number instead of a probability
    source = steps[0][1].codes
    assert masked.any() and not masked.all()
    for step, _ in steps:
        assert torch.equal(step.codes[0][~masked], source[~masked])
        assert not (step.slots[0][~masked] == model.special.mask).any()


def test_outpainting_grows_the_picture_around_its_own_pixels(model):
    source = picture(60, 40)
    result = finished_parts(model.stream(asked(source, "a cat"), "image", MmadaOptions(**FAST, extend_left=0.5, extend_right=0.5)))[-1]
    where = edit.place(source, model.side, (0.5, 0, 0.5, 0))
    assert (result.width, result.height) == (where.width, where.height) and result.width > 100 and result.height == 40
    inner = pixels(result)[where.y : where.y + 40, where.x : where.x + 60]
    assert np.array_equal(inner, pixels(source))


def test_without_a_region_the_least_supported_share_is_drawn_anew(model):
    done = list(model.stream(asked(picture(), "a cat"), "image", MmadaOptions(**FAST, strength=0.25)))[-1]
    assert 0 < done.stats["changed"] <= 4 and done.stats["passes"] == 4 + 2
    kept = (pixels(done.part) == pixels(picture())).all(-1).mean()
    assert 0.7 < kept < 1


def test_places_and_regions():
    source = picture(100, 100)
    assert edit.place(source, 32, (0, 0, 0, 0)) == edit.Place(32, 0, 0, 32, 32, 100, 100, 0, 0)
    wide = edit.place(source, 32, (0, 0, 1.0, 0))
    assert (wide.columns, wide.rows, wide.width, wide.x) == (16, 32, 200, 0)
    assert int(wide.inside.sum()) == 16 * 32
    assert edit.region(wide, (0.5, 0.0, 1.0, 1.0)).view(32, 32)[:, 8:16].all() and int(edit.region(wide, (0.5, 0, 1, 1)).sum()) == 8 * 32
    sliver = edit.place(source, 4, (4.0, 4.0, 4.0, 4.0))
    assert sliver.columns >= 1 and sliver.width >= sliver.x + 100
    assert edit.region(sliver, (0.99, 0.99, 1.0, 1.0)).any()


@pytest.mark.parametrize(
    ("document", "want", "options"),
    [
        (Document(), "text", Options()),
        (asked(""), "text", Options()),
        (asked(" \n"), "image", Options()),
        (asked("hi").assistant(Text("ho")), "text", Options()),
        (asked("x" * 50_000), "text", Options()),
        (asked("x" * 50_000), "image", Options()),
        (asked("x" * 50_000), "image", Options(think=False)),
        (asked(picture(1, 1), "what?"), "text", Options()),
        (asked(Image(10000, 10000, bytes(300_000_000)), "what?"), "image", Options()),
    ],
)
def test_bad_input_is_one_clear_sentence(model, document, want, options):
    with pytest.raises(BadInput) as caught:
        list(model.stream(document, want, options))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "fields",
    [{"mask_left": 0.6, "mask_right": 0.4}, {"schedule": "x"}, {"text_cache": "all"}, {"strength": 2.0}, {"threshold": 0.5, "factor": 1.0}],
)
def test_bad_options_are_refused(fields):
    with pytest.raises(BadInput):
        MmadaOptions(**fields)


def test_bf16_keeps_the_picture_tokenizer_exact():
    model = mmada.load(GOLDEN, dtype=torch.bfloat16)
    assert model.backbone.dtype == torch.bfloat16 and next(model.vq.parameters()).dtype == torch.float32
    for document, want, options in CASES[:4]:
        assert finished_parts(model.stream(document, want, options))


def spoil_config(**changes):
    def spoil(folder: Path) -> None:
        data = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(data | changes))

    return spoil


def spoil_key(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["model.transformer.novel.weight"] = state.pop("model.transformer.ln_f.weight")
    save_file(state, folder / "model.safetensors")


class Harmful:
    def __reduce__(self):
        return (Path("harmed").touch, ())


def spoil_pickle(folder: Path) -> None:
    (folder / "vq" / "model.safetensors").unlink()
    (folder / "vq" / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful()))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: os.truncate(folder / "model.safetensors", 4000), "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: shutil.rmtree(folder / "vq"), "magvitv2"),
        (spoil_config(model_type="qwen2"), "qwen2"),
        (spoil_config(d_model="wide"), "config.json"),
        (spoil_config(n_layers=3), "missing"),
        (spoil_config(codebook_size=32), "codes"),
        (spoil_config(eos_token_id=126081, mask_token_id=126336), "tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json"),
        (spoil_key, "novel"),
        (spoil_pickle, "pytorch_model.bin"),
    ],
)
def test_a_damaged_folder_is_named(folder, spoil, says, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    spoil(folder)
    with pytest.raises((MissingWeights, BadInput), match=says) as caught:
        mmada.load(folder)
    assert isinstance(caught.value, UnimmError) and not Path("harmed").exists()


def test_the_picture_tokenizer_may_lie_beside_the_model(folder):
    (folder / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.move(folder / name, folder / "model" / name)
    state = load_file(folder / "vq" / "model.safetensors")
    (folder / "vq" / "model.safetensors").unlink()
    torch.save(state, folder / "vq" / "pytorch_model.bin")
    (folder / "vq").rename(folder / "magvitv2")
    assert mmada.load(folder / "model").side == 4
    assert mmada.load(folder / "model", vq=folder / "magvitv2").side == 4


def test_a_folder_of_other_sizes_loads_and_draws(tmp_path):
    data = json.loads((GOLDEN / "config.json").read_text())
    data |= {"d_model": 48, "n_layers": 3, "n_heads": 3, "n_kv_heads": 1, "mlp_hidden_size": 80, "codebook_size": 16, "num_vq_tokens": 9,
             "weight_tying": True, "rope_theta": 10000.0, "embedding_size": None, "vocab_size": 270}  # fmt: skip
    pictures = json.loads((GOLDEN / "vq" / "config.json").read_text())
    for half in ("encoder", "decoder"):
        pictures[half] |= {"ch": 8, "ch_mult": [1, 2, 2], "num_res_blocks": [1, 2, 1], "z_channels": 4, "attn_resolutions": [128]}
    pictures["norm_groups"] = 4
    (tmp_path / "vq").mkdir()
    backbone, vq = random_backbone(BackboneConfig.from_dict(data)), MagvitV2(VQConfig.from_dict(pictures))
    for place, config, module in ((tmp_path, data, backbone), (tmp_path / "vq", pictures, vq)):
        (place / "config.json").write_text(json.dumps(config))
        save_file({name: value.clone() for name, value in module.state_dict().items()}, place / "model.safetensors")
    model = mmada.load(tmp_path)
    assert model.pixels == 3 * 4
    assert "encoder.down.1.attn.1.q.weight" in model.vq.state_dict()
    result = finished_parts(model.stream(asked(picture(20, 30), "a cat"), "image", MmadaOptions(**FAST, mask_top=0.5)))[-1]
    assert (result.width, result.height) == (20, 30)


def test_a_stored_config_of_the_released_size_may_name_too_few_slots():
    row = PUBLISHED["mmada-8b"]
    data = {
        "model_type": "mmada", "d_model": 4096, "n_layers": 32, "n_heads": 32, "mlp_hidden_size": 12288, "embedding_size": 134656,
        "max_sequence_length": 4096, "codebook_size": 8192, "num_vq_tokens": 256, "mask_token_id": 126336, "eos_token_id": 126081,
        "rope_theta": 500000.0,
    }  # fmt: skip
    assert BackboneConfig.from_dict(data) == row and abs(row.parameters / 1e9 - 8.08) < 0.01


def test_letters_give_back_every_text(model):
    words = model.words
    assert isinstance(words, Letters)
    text = "Draw: <|eot_id|> 12 + ä 語 \n\tend"
    ids = words.encode(text)
    assert model.special.eot in ids and max(ids) < model.backbone.config.rows
    assert words.decode(ids) == text.replace("<|eot_id|>", "")
