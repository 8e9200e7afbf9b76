import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unimm import parity
from unimm.parity import Golden, suite_of, walk

GOLDEN = Path(__file__).parents[2] / "golden" / "janus"
FEW = {"aia": 21, "gen": 29, "prep": 4, "templates": 4, "und": 7, "vq": 6}


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.case: verdict for verdict in walk(suite_of("janus"), Golden(GOLDEN))}


@pytest.mark.parametrize("case", sorted(FEW))
def test_case(verdicts, case):
    assert verdicts[case].ok, [row for row in verdicts[case].compared if not row.ok] or verdicts[case].why
    assert len(verdicts[case].compared) >= FEW[case]
    assert not verdicts[case].why, "a tensor of the folder went unread"


def test_every_case_is_walked(verdicts):
    assert sorted(verdicts) == sorted(FEW)


@pytest.mark.parametrize(
    ("tensor", "change_by"),
    [("vq.ids", 1), ("und.logits", 1e-3), ("prep.1.pixel_values", 1e-3), ("gen.prompt1.cfg5.greedy_ids", 1), ("aia.loss.und.values", 1e-3)],
)
def test_a_wrong_number_fails(tmp_path, capsys, tensor, change_by):
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "golden"))
    state = load_file(folder / "cases.safetensors")
    state[tensor].view(-1)[-1] += change_by
    case = tensor.split(".")[0]
    save_file({name: value for name, value in state.items() if name.startswith(f"{case}.")}, folder / "cases.safetensors")
    data = json.loads((folder / "cases.json").read_text())
    data["tensors"] = {name: row for name, row in data["tensors"].items() if name.startswith(f"{case}.")}
    (folder / "cases.json").write_text(json.dumps(data))
    assert parity.main(["janus", "--golden", str(folder)]) == 1
    assert f"{case} " in next(line for line in capsys.readouterr().out.splitlines() if "FAIL" in line)


def test_a_codebook_that_is_not_normalised_is_noticed(verdicts):
    share = json.loads((GOLDEN / "cases.json").read_text())["meta"]["vq_ids_equal_without_l2_norm_fraction"]
    assert share < 0.5, "the folder no longer shows the trap"
    from unimm.janus import load

    decoder = load(GOLDEN, dtype=torch.float32).decoder
    case = load_file(GOLDEN / "cases.safetensors")
    raw = load_file(GOLDEN / "original" / "model.safetensors")["gen_vision_model.quantize.embedding.weight"].float()
    latents = case["vq.pre_quant"].flatten(2).mT
    plain = torch.cdist(latents, raw[None].expand(2, -1, -1)).argmin(-1)
    assert (plain == case["vq.ids"]).float().mean().item() == pytest.approx(share, abs=0.02)
    native = decoder.codec.encode(case["vq.pixel_values"]).image_tokens.view(2, -1)
    assert native.equal(case["vq.ids"]), "the library's own encode is right with the rows stored at unit length"
