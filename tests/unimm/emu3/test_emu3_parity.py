"""Reference numbers, case by case, and that a wrong one is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from emu3_toy import GOLDEN
from safetensors.torch import load_file, save_file

from unimm import parity
from unimm.parity import Golden, suite_of, walk

CASES = {"aia": 3, "gen": 18, "generate_size": 1, "prefix_table": 3, "prep": 3, "smart_resize": 1, "und": 5, "vq": 9}


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.case: verdict for verdict in walk(suite_of("emu3"), Golden(GOLDEN))}


def test_every_case_is_covered(verdicts) -> None:
    assert sorted(verdicts) == sorted(CASES)


@pytest.mark.parametrize("case", CASES)
def test_case(verdicts, case) -> None:
    assert verdicts[case].ok, [row for row in verdicts[case].compared if not row.ok] or verdicts[case].why
    assert len(verdicts[case].compared) == CASES[case]
    assert not verdicts[case].why


@pytest.mark.parametrize(
    ("tensor", "change_by"),
    [("und.logits", 1e-3), ("gen.cfg3.greedy_ids", 1), ("gen.cfg1.5.uncond_logits", 1e-3), ("vq.video_decoded", 1e-3),
     ("aia.und.intensity", 1e-4), ("gen.cfg3.intensity_per_step", 1e-4), ("prep.1.pixel_values", 1e-2)],
)  # fmt: skip
def test_a_wrong_number_fails(tmp_path, capsys, tensor, change_by) -> None:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "golden"))
    state = load_file(folder / "cases.safetensors")
    state[tensor].view(-1)[-1] += change_by
    save_file(state, folder / "cases.safetensors")
    case = tensor.split(".")[0]
    data = json.loads((folder / "cases.json").read_text())
    data["tensors"] = {name: row for name, row in data["tensors"].items() if name.split(".")[0] == case}
    data["meta"] = {name: row for name, row in data["meta"].items() if name == "aia_und"}
    (folder / "cases.json").write_text(json.dumps(data))
    assert parity.main(["emu3", "--golden", str(folder)]) == 1
    out = capsys.readouterr().out
    assert f"worst {tensor.removeprefix(f'{case}.')}" in out and "0 ok, 1 failed" in out


def test_a_foreign_folder_ends_with_two(tmp_path, capsys) -> None:
    (tmp_path / "cases.json").write_text("{}")
    assert parity.main(["emu3", "--golden", str(tmp_path)]) == 2
    assert "names no tokens" in capsys.readouterr().err
