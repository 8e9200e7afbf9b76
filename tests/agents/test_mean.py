"""The mean of two checkpoints: between them where they differ, the same where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agents.teaching.mean import main, mean
from unimm.errors import BadInput

STILL = torch.tensor([0.1, 0.3])
ONE = {"module": {"a": torch.tensor([1.0, 2.0]), "still": STILL, "n": torch.tensor(3)}, "step": 5}
OTHER = {"module": {"a": torch.tensor([2.0, 0.0]), "still": STILL.clone(), "n": torch.tensor(4)}, "step": 9}


def test_the_mean_lies_between_and_keeps_what_is_equal() -> None:
    made = mean(ONE, OTHER, 0.75)
    assert made["module"]["a"].tolist() == [1.75, 0.5] and made["step"] == 9 and made["module"]["n"].item() == 4
    assert torch.equal(made["module"]["still"], STILL)
    assert mean(ONE, OTHER, 0.0)["module"]["a"].tolist() == [1.0, 2.0]


def test_other_models_and_shares_are_refused() -> None:
    with pytest.raises(BadInput, match="share"):
        mean(ONE, OTHER, 1.5)
    with pytest.raises(BadInput, match="not of one stage"):
        mean(ONE, {"module": {"a": torch.zeros(3)}}, 0.5)


def test_the_command_writes_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("one.pt", "other.pt", "mean.pt")]
    for state, file in zip((ONE, OTHER), files, strict=False):
        torch.save(state, file)
    assert main([*map(str, files[:2]), "--out", str(files[2])]) == 0
    assert torch.load(files[2], weights_only=True)["module"]["a"].tolist() == [1.5, 1.0]
    assert main([str(tmp_path / "none.pt"), str(files[1]), "--out", str(files[2])]) == 2 and "none.pt" in capsys.readouterr().err
