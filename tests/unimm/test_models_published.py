"""Random models of published layout at toy size: each is made, answers, draws and edits."""

from __future__ import annotations

import json

import pytest
import torch

from unimm import published
from unimm.errors import BadInput, ModelUnavailable
from unimm.models import MODELS
from unimm.random_models import MAKERS, Where, make

ONE_A_FAMILY = ["star-3b", "bagel-7b-mot", "mmada-8b-mixcot", "janus-pro-1b", "emu3"]


def test_every_published_model_can_be_made() -> None:
    assert set(MAKERS) == {name for name, row in MODELS.items() if row.folder is None}
    with pytest.raises(BadInput, match="no published model 'star-tiny'"):
        make("star-tiny")
    with pytest.raises(BadInput, match="no size 'huge'"):
        make("emu3", Where("huge"))


@pytest.mark.parametrize("name", ONE_A_FAMILY)
def test_a_toy_of_each_family_is_measured(name, tmp_path) -> None:
    out, shown = tmp_path / "out.json", []
    assert published.main([name, "--size", "toy", "--device", "cpu", "--json", str(out)], show=shown.append) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["model"] == name and row["parameters"] > 10_000 and row["dtype"] == "bfloat16" and row["peak_gb"] > 0
    assert all(row[f"seconds_{task}"] > 0 for task in ("understand", "generate", "edit"))
    assert f"| {name} |" in shown[0] and ("(redraw)" in shown[0]) is not MODELS[name].capabilities.edit


def test_running_out_of_memory_is_a_row_with_its_reason(monkeypatch, capsys, tmp_path) -> None:
    def full(name, where):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 29 GiB")

    monkeypatch.setattr(published, "make", full)
    out = tmp_path / "out.json"
    assert published.main(["emu3", "--size", "toy", "--device", "cpu", "--json", str(out)]) == 1
    assert "ran out of memory" in json.loads(out.read_text())["rows"][0]["error"]
    with pytest.raises(ModelUnavailable, match="quantize='nf4'"):
        published.measure("emu3", Where("toy"))


def test_an_unknown_model_is_refused(capsys) -> None:
    assert published.main(["nothing"]) == 2 and "no published model 'nothing'" in capsys.readouterr().err
