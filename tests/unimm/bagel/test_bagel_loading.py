import json
import pickle
import shutil

import pytest
import torch
from bagel_toys import GOLDEN
from safetensors.torch import load_file, save_file

from unimm import bagel
from unimm.bagel.checkpoint import load_checkpoint
from unimm.errors import BadInput, MissingWeights


@pytest.fixture
def folder(tmp_path):
    """A copy of the toy release that a test may damage."""
    return shutil.copytree(GOLDEN, tmp_path / "toy", ignore=shutil.ignore_patterns("cases*"))


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def drop(path, key):
    state = load_file(path)
    state.pop(key)
    save_file(state, path)


def grow(path, key):
    save_file(load_file(path) | {key: torch.zeros(2)}, path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


FAULTS = {
    "no ema": (lambda at: (at / "ema.safetensors").unlink(), "ema.safetensors"),
    "cut ema": (lambda at: cut(at / "ema.safetensors"), "ema.safetensors is damaged"),
    "cut ae": (lambda at: cut(at / "ae.safetensors"), "ae.safetensors is damaged"),
    "pickle": (lambda at: (at / "ema.safetensors").write_bytes(pickle.dumps(Bomb())), "ema.safetensors is damaged"),
    "missing": (lambda at: drop(at / "ema.safetensors", "llm2vae.bias"), r"ema.safetensors.*missing \(llm2vae.bias"),
    "unexpected": (lambda at: grow(at / "ae.safetensors", "quant_conv.bias"), r"ae.safetensors.*unexpected \(quant_conv.bias"),
    "shape": (lambda at: edit(at / "llm_config.json", intermediate_size=96), "mis-shaped"),
    "depth": (lambda at: edit(at / "llm_config.json", num_hidden_layers=3), "missing"),
    "no config": (lambda at: (at / "llm_config.json").unlink(), "llm_config.json is missing"),
    "bad json": (lambda at: (at / "vit_config.json").write_text("{"), "vit_config.json is damaged"),
    "no sizes": (lambda at: (at / "llm_config.json").write_text("{}"), "lacks hidden_size"),
    "odd sizes": (lambda at: edit(at / "llm_config.json", num_attention_heads=0), "not those of a BAGEL"),
    "text sizes": (lambda at: edit(at / "llm_config.json", hidden_size="wide"), "not those of a BAGEL"),
    "foreign": (lambda at: edit(at / "config.json", model_type="janus"), "'janus' model, not BAGEL"),
    "foreign part": (lambda at: edit(at / "llm_config.json", model_type="llama"), "'llama'"),
    "no words": (lambda at: (at / "tokenizer.json").write_text("{}"), "tokenizer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_loaded_is_named(folder, fault):
    harm, says = FAULTS[fault]
    harm(folder)
    with pytest.raises(MissingWeights, match=says):
        bagel.load(folder)


def test_a_wrong_folder(tmp_path):
    with pytest.raises(MissingWeights, match=r"llm_config.json is missing"):
        bagel.load(tmp_path)
    with pytest.raises(MissingWeights, match="no folder"):
        bagel.load(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="quantisation"):
        bagel.load(GOLDEN, quantize="nonsense")


def test_traps_of_the_release(folder):
    """A stale config, no config at all, an unused layer in the file, tables left out: all the same model."""
    expected = load_checkpoint(folder)
    edit(folder / "config.json", max_latent_size=4)
    assert load_checkpoint(folder).config == expected.config
    state = load_file(folder / "ema.safetensors")
    last = "vit_model.vision_model.encoder.layers."
    state |= {key.replace("layers.1.", "layers.2."): value.clone() for key, value in state.items() if key.startswith(f"{last}1.")}
    tables = {key: state.pop(key) for key in ("latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed")}
    edit(folder / "config.json", max_latent_size=expected.config.latent_side)
    save_file(state, folder / "ema.safetensors")
    rebuilt = load_checkpoint(folder)
    assert rebuilt.config == expected.config and len(rebuilt.bagel.vit_model["vision_model"].encoder["layers"]) == 2
    torch.testing.assert_close(rebuilt.bagel.latent_pos_embed.pos_embed, tables["latent_pos_embed.pos_embed"], atol=1e-6, rtol=0)


def test_a_partial_or_absent_config_json_means_the_published_autoencoder(folder):
    edit(folder / "config.json", vae_config={"z_channels": 16, "downsample": 8})
    with pytest.raises(MissingWeights, match="mis-shaped"):
        bagel.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(MissingWeights, match="do not fit"):
        bagel.load(folder)
