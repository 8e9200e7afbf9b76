import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unimm import parity
from unimm.mmada.parity import masked_after
from unimm.mmada.parity_shared import GROUPS
from unimm.mmada.prompts import THINKING, chat
from unimm.mmada.schedule import share_after
from unimm.parity import Golden, suite_of, walk

GOLDEN = Path(__file__).parents[2] / "golden" / "mmada"


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.case: verdict for verdict in walk(suite_of("mmada"), Golden(GOLDEN))}


@pytest.fixture
def folder(tmp_path):
    """A copy of the golden folder that a test may damage."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def only(folder: Path, *cases: str) -> dict:
    path = folder / "cases.json"
    data = json.loads(path.read_text())
    data["tensors"] = {name: row for name, row in data["tensors"].items() if name.rpartition("/")[0] in cases}
    data["cases"] = {name: row for name, row in data["cases"].items() if name in cases or f"{name}/" in "".join(f"{c}/" for c in cases)}
    path.write_text(json.dumps(data))
    return data


@pytest.mark.parametrize("group", ["backbone", "fast", "image", "layout", "mmu", "sched", "t2i", "text", "train", "vq"])
def test_every_case_of_a_group_agrees(verdicts, group):
    rows = [verdict for name, verdict in verdicts.items() if name.split("/")[0] == group]
    assert rows and all(verdict.ok for verdict in rows), [verdict.line() for verdict in rows if not verdict.ok]
    assert not [verdict.why for verdict in rows if "not compared" in verdict.why and verdict.case.split("/")[0] in ("vq", "sched", "fast")]


def test_no_case_is_passed_over(verdicts):
    cases = json.loads((GOLDEN / "cases.json").read_text())
    assert set(verdicts) == {name.rpartition("/")[0] for name in cases["tensors"]}
    assert {name.split("/")[0] for name in GROUPS} == {name.split("/")[0] for name in verdicts}


@pytest.mark.parametrize(("case", "few"), [("backbone", 6), ("fast/dual_cache", 3), ("layout/real", 17), ("t2i/greedy_cfg", 12), ("vq", 9)])
def test_the_outputs_of_a_case_are_compared(verdicts, case, few):
    assert len(verdicts[case].compared) >= few


@pytest.mark.parametrize(
    ("case", "tensor", "change_by"),
    [
        ("t2i/inpaint", "steps", 1), ("text/uneven", "confidence", 1e-3), ("vq", "latent", 3e-4), ("layout/tiny", "r2i_prompt_mask", 1),
        ("train/forward", "losses", 1e-3), ("fast/prefix_cache", "steps", 1),
    ],
)  # fmt: skip
def test_a_wrong_number_fails(capsys, folder, case, tensor, change_by):
    only(folder, case)
    path = folder / "cases.safetensors"
    state = load_file(path)
    values = state[f"{case}/{tensor}"].view(-1)
    values[values.argmax()] += change_by
    save_file(state, path)
    assert parity.main(["mmada", "--golden", str(folder)]) == 1
    failed = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(case))
    assert "FAIL" in failed and tensor in failed


def test_other_names_inside_known_groups_are_checked(capsys, folder):
    data = only(folder, "sched/cosine", "text/cfg")
    state = load_file(folder / "cases.safetensors")
    new = {"sched/pow3/T10": torch.stack([share_after("pow3", k, 10) for k in range(10)]),
           "sched/pow3/T10_N7_mask_len": masked_after("pow3", 10, 7)}  # fmt: skip
    new |= {f"text/another/{name}": state[f"text/cfg/{name}"].clone() for name in ("prompt", "steps", "confidence", "transfer_counts")}
    save_file(state | new, folder / "cases.safetensors")
    data["tensors"] |= {name: {} for name in new}
    data["cases"] |= {"text/another": data["cases"]["text/cfg"], "sched": {"mask_counts": [1]}}
    (folder / "cases.json").write_text(json.dumps(data))
    assert parity.main(["mmada", "--golden", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "sched/pow3" in out and "text/another" in out and out.rstrip().endswith("4 ok, 0 failed, 0 not covered")


def test_an_unknown_group_is_said_to_be_unknown(capsys, folder):
    data = only(folder, "sched/linear")
    data["tensors"] |= {"novel/case/x": {}}
    (folder / "cases.json").write_text(json.dumps(data))
    assert parity.main(["mmada", "--golden", str(folder)]) == 0
    assert "no check knows this case" in capsys.readouterr().out


def test_the_strings_that_models_were_trained_on():
    strings = json.loads((GOLDEN / "cases.json").read_text())["interface_strings"]
    assert strings["thinking_prefix_prepended_to_user_text"] == THINKING
    for name in ("chat_render_one_turn", "chat_render_three_messages"):
        messages = [(row["role"], row["content"]) for row in strings[name]["messages"]]
        assert chat(messages) == strings[name]["rendered"]
