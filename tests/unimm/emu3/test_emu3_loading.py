"""Both published layouts, which decoder serves which side, and files that are no good."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from emu3_toy import ASKED, GOLDEN, GREEDY, WANTED, change_config, change_weights, native_folder, pair_folder, parts, toy
from safetensors.torch import load_file
from transformers import Emu3ForConditionalGeneration

from unimm.emu3 import convert
from unimm.emu3.checkpoint import codec_name, find, language_state
from unimm.emu3.grammar import Grid
from unimm.emu3.tokenizer import ToyWords, from_ranks, load_words
from unimm.errors import BadInput, MissingWeights


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> Path:
    return native_folder(tmp_path_factory.mktemp("native") / "Emu3-toy-hf")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    return pair_folder(tmp_path_factory.mktemp("pair"))


def test_original_and_native_layout_are_one_model(native) -> None:
    original, other = toy(), toy(native)
    for one, two in ((original.pair.get("gen").net, other.pair.get("gen").net), (original.codec.net, other.codec.net)):
        theirs = two.state_dict()
        assert {key: value for key, value in one.state_dict().items() if not value.equal(theirs[key])} == {}
        assert len(theirs) == len(one.state_dict())
    assert other.area == original.area and other.pair.get("gen").ids == original.pair.get("gen").ids
    assert parts(other, ASKED, "text", GREEDY) == parts(original, ASKED, "text", GREEDY)


def test_a_converted_folder_loads_natively_and_gives_the_same_logits(native) -> None:
    """The native route, placeholders and pixels, against ours: real ids."""
    net, loading = Emu3ForConditionalGeneration.from_pretrained(native, dtype=torch.float32, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    cases, model = load_file(GOLDEN / "cases.safetensors"), toy(native)
    ids, pixels = cases["und.input_ids"][1:2], cases["vq.image"][1:2]
    holder, eol = net.config.image_token_id, model.pair.get("chat").ids.eol
    visual = (ids >= model.pair.get("chat").ids.visual) | (ids == eol)
    with torch.inference_mode():
        theirs = net(input_ids=ids.masked_fill(visual, holder), pixel_values=pixels, image_sizes=torch.tensor([pixels.shape[-2:]])).logits
        language = model.pair.get("chat")
        ours = language.logits(language.states(ids))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_older_native_names_are_read() -> None:
    state = dict.fromkeys(("text_model.model.norm.weight", "text_model.lm_head.weight", "vqmodel.conv.weight"), torch.zeros(1))
    assert set(language_state(state, "emu3")) == {"model.norm.weight", "lm_head.weight"}


@pytest.mark.parametrize(
    ("original", "native"),
    [
        ("encoder.down.1.attn.0.q.weight", "encoder.down_block.down.1.attn.0.q_proj.weight"),
        ("decoder.up.1.attn.2.norm.conv_y.bias", "decoder.up_block.up.1.attn_norms.2.conv_y.bias"),
        ("decoder.mid.attn_1.proj_out.bias", "decoder.middle_block.attn_1.out_proj.bias"),
        ("encoder.mid.attn_1.norm.weight", "encoder.middle_block.attn_norm.weight"),
        ("encoder.mid.block_2.conv1.weight", "encoder.middle_block.block_2.conv1.weight"),
        ("decoder.time_conv.0.conv.conv.bias", "decoder.time_conv.0.conv.conv.bias"),
    ],
)
def test_codec_names(original, native) -> None:
    assert codec_name(original) == native


def test_a_single_decoder_serves_both_sides_and_a_pair_its_own(pair) -> None:
    single, both = toy(), toy(pair)
    assert single.pair.get("chat") is single.pair.get("gen")
    assert both.pair.get("chat") is not both.pair.get("gen")
    assert {side: part.folder.name for side, part in find(pair).sides.items()} == {"chat": "Emu3-Chat", "gen": "Emu3-Gen"}
    assert both.capabilities.memory_gb["bf16"] == pytest.approx(2 * single.capabilities.memory_gb["bf16"], abs=0.01)
    beside = find(pair / "Emu3-Gen")
    assert {part.folder.name for part in beside.sides.values()} == {"Emu3-Gen"} and beside.codec.folder.name == "Emu3-VisionTokenizer"


@pytest.mark.parametrize(("positions", "sides"), [(131072, {"chat"}), (9216, {"gen"}), (5120, {"chat", "gen"})])
def test_the_published_chat_cannot_draw_and_gen_cannot_talk(tmp_path, positions, sides) -> None:
    folder = pair_folder(tmp_path)
    shutil.rmtree(folder / "Emu3-Chat")
    change_config(folder / "Emu3-Gen", vocab_size=184622, max_position_embeddings=positions)
    (folder / "Emu3-Gen").rename(folder / "decoder")
    assert set(find(folder).sides) == sides


def test_one_sided_weights_say_what_is_missing(pair) -> None:
    model = toy(pair)
    del model.pair.makers["chat"]
    assert not model.capabilities.understand and model.capabilities.generate and not model.capabilities.edit
    with pytest.raises(BadInput, match=r"cannot write an answer. Load BAAI/Emu3-Chat"):
        parts(model, ASKED, "text")
    assert len(parts(model, WANTED, "image", GREEDY)) == 1


# --- files that are no good


@pytest.mark.parametrize("damage", ["cut", "missing", "extra", "shape", "no config", "broken config", "other model", "no key", "no weights",
                                    "no codec", "pickle"])  # fmt: skip
def test_damaged_and_foreign_files_are_named(tmp_path, damage) -> None:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "toy"))
    language, weights = folder / "original_lm", folder / "original_lm" / "model.safetensors"
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-1000])
        case "missing":
            change_weights(language, lambda key, value: None if key == "model.norm.weight" else value)
        case "extra":
            change_config(language, num_hidden_layers=3)
        case "shape":
            change_config(language, intermediate_size=96)
        case "no config":
            (language / "config.json").unlink()
        case "broken config":
            (language / "config.json").write_text("{")
        case "other model":
            change_config(language, model_type="llama")
        case "no key":
            change_config(language, hidden_size=None)
        case "no weights":
            weights.unlink()
        case "no codec":
            shutil.rmtree(folder / "original_vq")
        case "pickle":
            weights.write_bytes(pickle.dumps({"model": print}))
    named = {
        "missing": "model.norm.weight", "extra": "unexpected", "shape": "mis-shaped", "other model": "llama", "no key": "hidden_size",
        "no codec": "Emu3-VisionTokenizer", "no weights": "no weights", "broken config": "config.json",
    }  # fmt: skip
    with pytest.raises(MissingWeights, match=named.get(damage, "Emu3|model.safetensors")):
        toy(folder)


def test_a_folder_that_is_not_there_and_an_unknown_precision(tmp_path) -> None:
    with pytest.raises(MissingWeights, match="no folder"):
        toy(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="quantisation"):
        toy(quantize="int3")


def test_converting_refuses_what_is_not_original(tmp_path, native, capsys) -> None:
    assert convert.main([str(native), str(GOLDEN / "original_vq"), str(tmp_path)]) == 2
    assert "not an original 'Emu3'" in capsys.readouterr().err


# --- tokenizers


def test_the_original_tokenizer_merges_by_rank(tmp_path) -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b"cd", b"abcd", b" ab", "ü".encode()]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (tmp_path / "emu3.tiktoken").write_text("\n".join(lines))
    words = load_words([tmp_path], 1000)
    assert words.encode("abcd abü<|image start|>") == [258, 259, 260, *b"<|image", 32, *b"start", *b"|>"]
    for text in ("8*12", "Grüße, ab  cd!\n\n\tx", "漢字 ab"):
        assert words.decode(words.encode(text)) == text
    assert words.encode("64*64") == list(b"64*64")
    (tmp_path / "emu3.tiktoken").write_text("no tokens here")
    with pytest.raises(MissingWeights, match="damaged"):
        load_words([tmp_path], 1000)


def test_a_converted_tokenizer_is_the_same(tmp_path) -> None:
    tokenizer = from_ranks({bytes([byte]): byte for byte in range(256)} | {b"ab": 256})
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    words = load_words([tmp_path], 1000)
    assert words.encode("cab") == [99, 256] and words.decode([99, 256]) == "cab"
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(MissingWeights, match="damaged"):
        load_words([tmp_path], 1000)


def test_a_full_vocabulary_needs_its_tokenizer_and_a_toy_does_not(tmp_path) -> None:
    with pytest.raises(MissingWeights, match=r"tokenizer.json"):
        load_words([tmp_path], 151643)
    words = load_words([tmp_path], 100)
    ids = words.encode("A red w45, 8*12")
    assert isinstance(words, ToyWords) and words.encode(words.decode(ids)) == ids and ids[-4:] == [8, 10, 1, 2] and 45 in ids
    assert all(token < 100 for token in ids)


def test_bounds_of_pictures_come_from_the_folder(tmp_path) -> None:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "toy"))
    assert toy(folder).codec.pixels == (384, 384)
    (folder / "original_vq" / "preprocessor_config.json").write_text(json.dumps({"min_pixels": 64, "max_pixels": 256}))
    assert toy(folder).codec.pixels == (64, 256)
    assert toy(folder).grid(GREEDY) == Grid(5, 5)
