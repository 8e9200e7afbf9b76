import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from unimm.errors import BadInput, MissingWeights
from unimm.star.checkpoint import convert, main, read_release, translate
from unimm.star.config import RELEASED_VQ
from unimm.weights import load_sharded, load_strict, read_state, save_sharded

GOLDEN = Path(__file__).parents[1] / "golden" / "star"


def state() -> dict[str, torch.Tensor]:
    return {f"part.{i}": torch.full((10, 10), float(i)) for i in range(7)}


def test_released_names_become_ours_and_ours_stay():
    theirs = [
        "llm.model.embed_tokens.weight", "llm.model.layers.3.mlp.up_proj.weight", "llm.visual.blocks.0.norm1.weight", "llm.lm_head.weight",
        "llm.model.language_model.norm.weight", "stacked_ar.model.norm.weight", "pixel_adapter.layers.0.bias",
        "diffusion_decoder.transformer.x", "pixel_encoder.quantize.codebook_used",
    ]  # fmt: skip
    ours = [
        "base.model.language_model.embed_tokens.weight", "base.model.language_model.layers.3.mlp.up_proj.weight",
        "base.model.visual.blocks.0.norm1.weight", "base.lm_head.weight", "base.model.language_model.norm.weight",
        "stack.norm.weight", "pixel_adapter.layers.0.bias",
    ]  # fmt: skip
    once = translate(dict.fromkeys(theirs))
    assert list(once) == ours
    assert translate(once) == once


def test_a_misfit_names_every_kind_and_changes_nothing():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    wrong = {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(3), "1.weight": torch.zeros(1, 3), "2.bias": torch.zeros(1)}
    with pytest.raises(MissingWeights) as caught:
        load_strict(module, wrong)
    for words in ("1 missing (1.bias)", "1 unexpected (2.bias)", "1 mis-shaped (0.weight [2, 2] for [3, 2])"):
        assert words in str(caught.value)
    assert all(value.equal(before[key]) for key, value in module.state_dict().items())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 2)
        self.out = nn.Linear(2, 4, bias=False)
        self.out.weight = self.table.weight


def test_a_tied_output_layer_may_be_absent_but_not_the_table():
    module = Tied()
    load_strict(module, {"table.weight": torch.ones(4, 2)})
    assert module.out.weight.equal(torch.ones(4, 2))
    with pytest.raises(MissingWeights, match=r"table\.weight"):
        load_strict(module, {})


def test_shards_stay_below_the_limit_and_come_back_equal(tmp_path):
    paths = save_sharded(state(), tmp_path, limit=900)
    assert [path.name for path in paths[:-1]] == [f"model-0000{i}-of-00004.safetensors" for i in range(1, 5)]
    assert sum(value.nbytes for path in paths[:-1] for value in load_file(path).values()) == 2800
    assert all(sum(value.nbytes for value in load_file(path).values()) <= 900 for path in paths[:-1])
    back = load_sharded(tmp_path)
    assert all(back[key].equal(value) for key, value in state().items())
    assert json.loads(paths[-1].read_text())["metadata"]["total_size"] == 2800


def test_a_second_save_leaves_no_old_shard(tmp_path):
    save_sharded(state(), tmp_path, limit=400)
    save_sharded(state(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-00001-of-00001.safetensors", "model.safetensors.index.json"]
    assert load_sharded(tmp_path).keys() == state().keys()


def test_one_tensor_above_the_limit_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"part\.0 alone takes 400 bytes"):
        save_sharded(state(), tmp_path, limit=399)


def test_damaged_folders_are_missing_weights(tmp_path):
    with pytest.raises(MissingWeights, match="no index of shards"):
        load_sharded(tmp_path)
    paths = save_sharded(state(), tmp_path, limit=900)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MissingWeights, match="damaged"):
        load_sharded(tmp_path)
    paths[1].unlink()
    with pytest.raises(MissingWeights, match="no weight file"):
        load_sharded(tmp_path)
    paths[-1].write_text("{")
    with pytest.raises(MissingWeights, match="index"):
        load_sharded(tmp_path)


@pytest.mark.parametrize("wrap", [True, False])
def test_a_released_file_is_converted(tmp_path, wrap):
    weights = {"llm.model.norm.weight": torch.ones(3), "diffusion_decoder.vae.x": torch.ones(2)}
    torch.save({"state_dict": weights} if wrap else weights, tmp_path / "star.pt")
    convert(tmp_path / "star.pt", tmp_path / "out")
    assert {key: value.tolist() for key, value in load_sharded(tmp_path / "out").items()} == {
        "base.model.language_model.norm.weight": [1.0, 1.0, 1.0]
    }


def test_the_command_converts_a_bare_part(tmp_path, capsys):
    torch.save({"quant_conv.bias": torch.ones(2), "quantize.codebook_used": torch.ones(2)}, tmp_path / "vq.pt")
    main([str(tmp_path / "vq.pt"), str(tmp_path / "out"), "--part", "pixel_encoder"])
    assert list(load_sharded(tmp_path / "out")) == ["pixel_encoder.quant_conv.bias"]
    assert "index.json" in capsys.readouterr().out


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-pickle"),))


def test_a_pt_file_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, "evil.pt")
    with pytest.raises(MissingWeights, match="damaged or is not a weight file"):
        read_state(Path("evil.pt"))
    assert not Path("touched-by-pickle").exists()


def test_a_release_without_sizes_of_its_own_is_a_published_row():
    data = json.loads((GOLDEN / "config.json").read_text())
    del data["tiny"]
    data["pixel_encoder"] |= {"image_token_size": 65536, "n_embed": 512, "num_heads": 8}
    data["pixel_adapter"] |= {"n_embed": 2048, "depth": 2}
    data |= {"stacked_ar": {"num_layers": 16}, "torch_dtype": "bfloat16"}
    row = read_release(data)
    assert (row.vq, row.picture, row.stack_layers, row.bf16_rope) == (RELEASED_VQ, 384, 16, True)
    assert row.base["text_config"]["num_hidden_layers"] == 36
    data["pixel_adapter"]["n_embed"] = 77
    with pytest.raises(BadInput, match="width 77"):
        read_release(data)


def test_packed_shards_hold_the_same_and_damage_is_named(tmp_path):
    save_sharded(state(), tmp_path, limit=900)
    paths = save_sharded(state(), tmp_path, limit=900, packed=True)
    assert [path.name for path in paths][:1] == ["model-00001-of-00004.safetensors.xz"] and not list(tmp_path.glob("*.safetensors"))
    back = load_sharded(tmp_path)
    assert back.keys() == state().keys() and all(torch.equal(back[key], value) for key, value in state().items())
    paths[0].write_bytes(paths[0].read_bytes()[:-20])
    with pytest.raises(MissingWeights, match=r"model-00001-of-00004\.safetensors\.xz is damaged"):
        load_sharded(tmp_path)
