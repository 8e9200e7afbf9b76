"""The reference numbers of interaction and loss, and that wrong ones are noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unimm import parity
from unimm.parity import Golden, suite_of, walk
from unimm.train.alignment import TARGETS

GOLDEN = Path(__file__).parents[2] / "golden" / "aia"


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.case: verdict for verdict in walk(suite_of("aia"), Golden(GOLDEN))}


@pytest.mark.parametrize(("case", "few"), [("gen", 21), ("und", 21), ("decode", 2)])
def test_every_number_of_a_case_is_compared(verdicts, case, few) -> None:
    verdict = verdicts[case]
    assert verdict.ok and len(verdict.compared) >= few and not verdict.why, verdict.line()


@pytest.mark.parametrize("tensor", ["gen.intensity", "gen.grad_norm_per_layer.third_off", "und.huber_mean.paper_emu3", "decode.und_curve"])
def test_a_wrong_number_fails(tmp_path, capsys, tensor) -> None:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "golden"))
    tensors = load_file(folder / "cases.safetensors")
    tensors[tensor].view(-1)[0] *= 1.001
    save_file(tensors, folder / "cases.safetensors")
    assert parity.main(["aia", "--golden", str(folder)]) == 1
    assert f"worst {tensor.split('.', 1)[1]}" in capsys.readouterr().out


def test_a_folder_of_other_dimensions(tmp_path) -> None:
    """Fewer layers and heads, longer rows: intensities and penalties by plain loops, and the code's rule as if-else."""
    torch.manual_seed(0)
    layers, heads, words, codes = 12, 2, 7, 5
    scores = torch.randn(layers, 1, heads, words + codes, words + codes)
    maps = scores.masked_fill(torch.ones(words + codes, words + codes, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)
    mass = torch.tensor([[float(maps[layer, 0, :, words:-1, : words - 1].sum(-1).mean())] for layer in range(layers)])
    width = torch.tensor([[0.2 if layer < 10 else 0.1] for layer in range(layers)])
    gap = (mass - 0.4).abs()
    huber = torch.where(gap <= width, gap**2 / 2, width * (gap - width / 2))
    save_file(
        {"gen.attentions": maps, "gen.attention_mask": torch.ones(1, words + codes, dtype=torch.long), "gen.intensity": mass,
         "gen.huber": huber, "gen.labels": torch.zeros(1, codes, dtype=torch.long), "gen.logits": torch.zeros(1, words + codes, 3)},
        tmp_path / "cases.safetensors",
    )  # fmt: skip
    meta = {"gen": {"key_span": [[0, words - 1]], "query_span": [[words, words + codes - 1]], "use_attn": {}, "weight": 5}}
    (tmp_path / "cases.json").write_text(json.dumps({"meta": meta}))
    (verdict,) = walk(suite_of("aia"), Golden(tmp_path))
    assert verdict.ok and len(verdict.compared) == 5, verdict.line()


def test_tables_scaled_to_other_depths() -> None:
    for tables in TARGETS.values():
        for table in tables.values():
            same = table.at(table.depth), table.at(table.depth, scaled=False)
            assert all(torch.equal(one, other) for one, other in zip(*same, strict=True))
    target, width = TARGETS["code"]["image"].at(60)
    assert target.tolist() == pytest.approx([0.4] * 50 + [0.2] * 10)
    assert width.tolist() == pytest.approx([0.2] * 20 + [0.1] * 30 + [0.05] * 10)
    assert TARGETS["paper_emu3"]["text"].at(32)[0].tolist() == pytest.approx([0.1] * 10 + [0.15] * 10 + [0.3] * 11 + [0.2])
    assert TARGETS["code"]["text"].at(1)[0].tolist() == pytest.approx([0.1])
