"""The table of models: what it says, and what keeps a model from running."""

from __future__ import annotations

import importlib
import importlib.util
import json
from dataclasses import is_dataclass, replace

import pytest

from unimm import models
from unimm.errors import BadInput, ModelUnavailable
from unimm.model import Options
from unimm.models import MODELS

NAMES = [
    "star-tiny", "star-3b", "star-7b", "bagel-7b-mot", "mmada-8b-base", "mmada-8b-mixcot", "janus-pro-1b",
    "janus-pro-7b", "emu3",
]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIMM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_every_model_has_a_row() -> None:
    assert list(MODELS) == NAMES and all(row.name == name for name, row in MODELS.items())
    assert not MODELS["janus-pro-7b"].capabilities.edit and MODELS["star-7b"].capabilities.latents


@pytest.mark.parametrize("name", NAMES)
def test_options_of_a_row_are_a_dataclass_of_its_family(name) -> None:
    module, _, own = MODELS[name].options.partition(":")
    kind = getattr(importlib.import_module(module), own)
    assert is_dataclass(kind) and issubclass(kind, Options)


def test_memory_follows_from_the_parameters() -> None:
    memory = MODELS["bagel-7b-mot"].capabilities.memory_gb
    assert memory["bf16"] == pytest.approx(29.4, abs=0.05) and memory["nf4"] < memory["int8"] < memory["bf16"] < memory["fp32"]
    assert MODELS["emu3"].capabilities.memory_gb["bf16"] < 18  # one of the pair at a time


def test_the_list_names_every_model_and_how_to_get_it(capsys) -> None:
    assert models.main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)
    for line in shown.splitlines():
        if line.startswith("bagel"):
            assert "14.7B" in line and "29.4" in line and "Apache-2.0" in line and "python -m unimm.models --get bagel-7b-mot" in line
        if line.startswith("star-tiny "):
            assert line.endswith("yes")


def test_unknown_names_are_refused_with_the_list() -> None:
    with pytest.raises(BadInput, match=r"'x'.*star-tiny"):
        models.find("x")


def test_a_model_without_weights_is_unavailable_with_its_command(elsewhere) -> None:
    assert models.available("star-tiny") and not models.available("mmada-8b-base")
    with pytest.raises(ModelUnavailable, match=r"not fetched; run: python -m unimm.models --get mmada-8b-base"):
        models.require("mmada-8b-base")
    folder = elsewhere / "mmada-8b-base"
    folder.mkdir(parents=True)
    (folder / "model-00001-of-00002.safetensors").touch()
    assert models.missing_files(folder, MODELS["mmada-8b-base"]) == ["showlab/magvitv2"]  # the codec is still lacking
    (folder / "vq").mkdir()
    (folder / "vq" / "pytorch_model.bin").touch()
    assert models.why_not("mmada-8b-base", room=int(40e9)) == ""
    assert "needs at least 6.3 GB (quantize='nf4'), this machine has 4.0 GB free" in models.why_not("mmada-8b-base", room=int(4e9))


def test_a_family_that_is_not_installed_is_said(monkeypatch) -> None:
    monkeypatch.setitem(MODELS, "other", replace(MODELS["star-3b"], name="other", family="nowhere"))
    assert "lacks unimm.nowhere" in models.why_not("other")


def test_fetching_an_embedded_model_touches_nothing(capsys) -> None:
    assert models.main(["--get", "star-tiny"]) == 0 and "star-tiny" in capsys.readouterr().out
    assert models.main(["--get", "nothing"]) == 2 and "There is no model" in capsys.readouterr().err


def test_rows_are_plain_enough_to_be_shown() -> None:
    assert json.dumps([row.capabilities.memory_gb for row in MODELS.values()])
    assert all(importlib.util.find_spec(f"unimm.{row.family}") for row in MODELS.values())
