import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import JanusForConditionalGeneration

from unimm.document import Document, Text
from unimm.errors import BadInput, MissingWeights
from unimm.janus import checkpoint, load
from unimm.janus.bench import SIZES, random_model
from unimm.janus.config import CODECS, MARKS, PUBLISHED, TOWERS, JanusOptions, from_options
from unimm.janus.convert import convert, main
from unimm.janus.tokenizer import ReleasedWords, ToyWords
from unimm.model import Options, draw, write

GOLDEN = Path(__file__).parents[2] / "golden" / "janus"
ASKED = Document().user(Text("a red cube"))
GREEDY = JanusOptions(temperature=0, think=False)


@pytest.fixture(scope="module")
def original():
    return load(GOLDEN, dtype=torch.float32)


@pytest.fixture(scope="module")
def native_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native") / "janus"
    convert(GOLDEN, folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden")) / "original"


def test_both_layouts_are_the_same_model(original, native_folder):
    native = load(native_folder, dtype=torch.float32, tokenizer=original.words)
    theirs, ours = original.decoder.net.state_dict(), native.decoder.net.state_dict()
    assert theirs.keys() == ours.keys()
    book = checkpoint.CODEBOOK
    assert [name for name, value in theirs.items() if not value.equal(ours[name])] in ([], [book])
    assert (theirs[book] - ours[book]).abs().max() < 1e-6, "unit rows brought to unit length once more"
    assert draw(native, ASKED, GREEDY) == draw(original, ASKED, GREEDY)
    assert write(native, ASKED) == write(original, ASKED)


def test_what_is_converted_is_right_in_the_library_itself(native_folder):
    case = load_file(GOLDEN / "cases.safetensors")
    net = JanusForConditionalGeneration.from_pretrained(native_folder, dtype=torch.float32).eval()
    prompt = case["gen.prompt0.input_ids"]
    ids = net.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), generation_mode="image", do_sample=False, guidance_scale=5.0
    )
    assert ids.equal(case["gen.prompt0.cfg5.greedy_ids"])
    logits = net(
        input_ids=case["und.input_ids"], attention_mask=case["und.attention_mask"], pixel_values=case["und.pixel_values"].flatten(0, 1),
        position_ids=case["und.position_ids"],
    ).logits  # fmt: skip
    inside = case["und.attention_mask"].bool()
    assert (logits - case["und.logits"])[inside].abs().max() < 2e-4
    assert net.model.vqmodel.encode(case["vq.pixel_values"]).image_tokens.view(2, -1).equal(case["vq.ids"])


def test_the_word_matrices_are_not_tied(original):
    net = original.decoder.net
    assert not net.lm_head.weight.equal(net.model.language_model.embed_tokens.weight)
    assert net.config.tie_word_embeddings is False


def test_pickled_weights_whole_and_in_shards(original, folder):
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    assert draw(load(folder, dtype=torch.float32), ASKED, GREEDY) == draw(original, ASKED, GREEDY)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: state[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    assert draw(load(folder, dtype=torch.float32), ASKED, GREEDY) == draw(original, ASKED, GREEDY)


def test_sizes_of_the_releases_are_read_off_their_configs():
    blocks = {
        "model_type": "multi_modality",
        "vision_config": {"params": {"image_size": 384, "model_name": "siglip_large_patch16_384", "select_layer": -1}},
        "aligner_config": {"params": {"depth": 2, "input_dim": 1024, "n_embed": 4096}},
        "gen_vision_config": {"cls": "VQ-16", "params": {"image_token_size": 16384, "n_embed": 8}},
        "gen_aligner_config": {"params": {"depth": 2, "input_dim": 8, "n_embed": 4096}},
        "gen_head_config": {"params": {"image_token_embed": 4096, "image_token_size": 16384, "n_embed": 4096}},
        "language_config": {"model_type": "llama", "num_hidden_layers": 30, "max_position_embeddings": 16384, "vocab_size": 102400},
    }
    config = checkpoint.original_config(blocks)
    with torch.device("meta"):
        net = JanusForConditionalGeneration(config)
    assert len(net.state_dict()) == 1018
    assert sum(value.numel() for value in net.parameters()) / 1e9 == pytest.approx(PUBLISHED["janus-pro-7b"].parameters, abs=0.02)
    assert config.vision_config.num_image_tokens == config.vq_config.num_patches**2 == 576
    assert set(TOWERS) == {"siglip_large_patch16_384"} and set(CODECS) == {"VQ-16"}


def damage(folder, what):
    path = folder / "config.json"
    data = json.loads(path.read_text())
    if what == "truncated":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif what == "no weights":
        (folder / "model.safetensors").unlink()
    elif what == "other model":
        path.write_text(json.dumps({"model_type": "llama"}))
    elif what == "no json":
        path.write_text("{")
    elif what == "config lacks a block":
        path.write_text(json.dumps({key: value for key, value in data.items() if key != "aligner_config"}))
    elif what == "other size":
        data["language_config"]["intermediate_size"] = 96
        path.write_text(json.dumps(data))
    elif what == "code in a pickle":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(print))
    elif what == "missing key":
        state = load_file(folder / "model.safetensors")
        del state["gen_head.vision_head.bias"]
        save_file(state, folder / "model.safetensors")
    elif what == "no codebook":
        state = load_file(folder / "model.safetensors")
        del state["gen_vision_model.quantize.embedding.weight"]
        save_file(state, folder / "model.safetensors")
    elif what == "unknown key":
        state = load_file(folder / "model.safetensors")
        save_file(state | {"novel.weight": torch.zeros(1)}, folder / "model.safetensors")
    elif what == "no tokenizer":
        (folder.parent / "cases.json").write_text(json.dumps({"dims": json.loads((folder.parent / "cases.json").read_text())["dims"]}))
    elif what == "unknown tower":
        (folder.parent / "cases.json").unlink()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("truncated", "model.safetensors is damaged"), ("no weights", "neither model.safetensors nor pytorch_model.bin"),
        ("other model", "'llama', not Janus-Pro"), ("no json", "config.json is damaged"), ("config lacks a block", "aligner_config"),
        ("other size", "mis-shaped"), ("code in a pickle", "pytorch_model.bin is damaged"),
        ("missing key", "generation_head.vision_head.bias"),
        ("no codebook", "quantize.embedding"), ("unknown key", "novel.weight"), ("no tokenizer", "no tokenizer.json"),
        ("unknown tower", "siglip_tiny_patch4_24"),
    ],
)  # fmt: skip
def test_a_folder_that_will_not_do_is_named(folder, what, says):
    damage(folder, what)
    with pytest.raises(MissingWeights, match=says):
        load(folder)


def test_a_wrong_folder(tmp_path):
    with pytest.raises(MissingWeights, match=r"no config\.json"):
        load(tmp_path)


def small_tokenizer(path: Path, words: int = 90) -> None:
    """A tokenizer file with every mark, bytes of ascii as words."""
    vocab = {chr(33 + number): number for number in range(words)} | {"[unk]": words}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(list(MARKS.values()))
    tokenizer.save(str(path))


def test_a_folder_s_own_tokenizer_counts(folder):
    small_tokenizer(folder / "tokenizer.json")
    model = load(folder)
    assert isinstance(model.words, ReleasedWords)
    assert model.words.special.bos == 91 and model.words.special.image == 95
    assert model.words.encode("ab<begin_of_image>") == [64, 65, 94]
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(MissingWeights, match=r"tokenizer.json is damaged"):
        load(folder)


def test_a_tokenizer_of_more_words_than_the_model(folder):
    small_tokenizer(folder / "tokenizer.json", 400)
    with pytest.raises(MissingWeights, match="more words than the model"):
        load(folder)


def test_toy_words_come_back_as_they_were(original):
    words = ToyWords(original.words.special, 100)
    ids = list(range(100))
    assert words.encode(words.decode(ids)) == ids
    assert words.encode("<image_placeholder>\nhello<｜end▁of▁sentence｜>")[::2] == [words.special.image, words.special.eos]


def test_conversion_refuses_a_full_folder(native_folder, capsys):
    with pytest.raises(BadInput, match="not empty"):
        convert(GOLDEN, native_folder)
    assert main([str(GOLDEN / "nothing"), str(native_folder)]) == 2
    assert "error: " in capsys.readouterr().err


def test_plain_options_get_the_release_s_guidance_and_its_own_mean_what_they_say():
    assert from_options(Options()).guidance == 5.0 and from_options(Options()).top_k == 0
    assert from_options(Options(guidance=3.0, top_k=7, seed=4)) == JanusOptions(
        guidance=3.0, top_k=7, seed=4, temperature=0.0, text_temperature=0.0, max_tokens=Options.max_tokens, text_top_p=1.0
    )
    own = JanusOptions(guidance=1.0)
    assert from_options(own) is own


def test_another_size_loads_from_the_layout_of_transformers(tmp_path):
    model = random_model(SIZES["small"])
    model.decoder.net.save_pretrained(tmp_path)
    again = load(tmp_path, tokenizer=model.words)
    assert again.capabilities.image_sizes == (64,)
    assert again.decoder.cells == 16


def test_names_of_deeper_aligners():
    state = {f"{whose}.layers.{number}.weight": torch.zeros(1) for whose in ("aligner", "gen_aligner") for number in (0, 2, 4, 10)}
    assert sorted(checkpoint.from_original(state)) == sorted(
        f"model.{whose}.{part}.weight"
        for whose in ("aligner", "generation_aligner")
        for part in ("fc1", "hidden_layers.0", "hidden_layers.1", "hidden_layers.4")
    )
