import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unimm import parity
from unimm.parity import Golden, suite_of, walk

GOLDEN = Path(__file__).parents[2] / "golden" / "bagel"
CASES = [row["name"] for row in json.loads((GOLDEN / "cases.json").read_text())["cases"]]


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.case: verdict for verdict in walk(suite_of("bagel"), Golden(GOLDEN))}


@pytest.mark.parametrize("case", CASES)
def test_case(verdicts, case):
    assert verdicts[case].ok, [row for row in verdicts[case].compared if not row.ok] or verdicts[case].why


def test_nothing_is_left_out_and_every_tensor_is_compared_or_read(verdicts):
    assert sorted(verdicts) == sorted(CASES)
    assert not {name: verdict.why for name, verdict in verdicts.items() if verdict.why}
    outputs = {"final_latent", "image_out_u8", "v_step0", "x_after_step0", "hidden_step0", "query_step0", "t"}
    for name in ("t2i_taylorseer", "edit_global", "interleave_gen"):
        assert outputs <= {row.tensor for row in verdicts[name].compared}


@pytest.mark.parametrize(
    ("case", "tensor", "by"), [("edit_global", "final_latent", 5e-3), ("text", "greedy_ids", 1), ("vae", "mean", 3e-3)]
)
def test_a_wrong_number_fails(tmp_path, capsys, case, tensor, by):
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "golden"))
    data = json.loads((folder / "cases.json").read_text())
    data["cases"] = [row for row in data["cases"] if row["name"] in (case, "timesteps")]
    (folder / "cases.json").write_text(json.dumps(data))
    state = {key: value for key, value in load_file(folder / "cases.safetensors").items() if key.split(".")[0] in (case, "timesteps")}
    wrong = state[f"{case}.{tensor}"].clone()
    wrong.view(-1)[1] += by
    save_file(state | {f"{case}.{tensor}": wrong}, folder / "cases.safetensors")
    assert parity.main(["bagel", "--golden", str(folder)]) == 1
    out = capsys.readouterr().out
    assert tensor in next(line for line in out.splitlines() if line.startswith(case)) and "1 ok, 1 failed" in out


def test_the_tolerance_is_the_cases_own_element_by_element():
    from unimm.bagel.parity import close
    from unimm.parity import Case

    class Folder:
        listed = ("c.x",)
        tensors = {"c.x": torch.tensor([1000.0, 0.0])}  # noqa: RUF012
        tolerance = 1e-4

    def verdict(actual):
        case = Case(Folder(), "c", parameters={"tolerance": {"atol": 1e-4, "rtol": 1e-3}})
        close(case, "x", torch.tensor(actual))
        return case.compared[0].ok

    assert verdict([1000.9, 0.0]) and not verdict([1001.1, 0.0])
    assert verdict([1000.9, 5e-5]) and not verdict([1000.9, 5e-4])
    assert not verdict([1000.0, float("nan")]) and not verdict([1000.0])
