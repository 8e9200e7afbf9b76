import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from unimm import parity
from unimm.errors import BadInput
from unimm.parity import Golden, distance, suite_of, walk
from unimm.star import checkpoint
from unimm.star.model import Star

GOLDEN = Path(__file__).parents[1] / "golden" / "star"
COVERED = [
    "dit", "dit_ref_variant", "edit", "filter", "pipe", "pipe_edit", "pipe_t2i", "prep", "reasoning", "rope", "schedule", "t2i_greedy",
    "t2i_tf", "t2i_tf_bf16_inv_freq", "template", "text_encoder", "understand", "vae", "vq",
]  # fmt: skip
LEFT_OUT: list[str] = []


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.case: verdict for verdict in walk(suite_of("star"), Golden(GOLDEN))}


@pytest.fixture
def folder(tmp_path):
    """A copy of the golden folder that a test may damage."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def change(path: Path, key: str, how) -> None:
    state = load_file(path)
    new = how(state.pop(key))
    save_file(state if new is None else state | {key: new}, path)


def only(folder: Path, *cases: str) -> None:
    path = folder / "cases.json"
    data = json.loads(path.read_text())
    data["tensors"] = {name: row for name, row in data["tensors"].items() if name.split(".")[0] in cases}
    data["parameters"] = {name: row for name, row in data["parameters"].items() if name in cases}
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("case", COVERED)
def test_case(verdicts, case):
    assert verdicts[case].ok, [row for row in verdicts[case].compared if not row.ok] or verdicts[case].why


def test_every_case_is_walked_and_what_is_left_out_says_why(verdicts):
    assert sorted(verdicts) == sorted(COVERED + LEFT_OUT)
    assert all(verdicts[name].ok is None and verdicts[name].why for name in LEFT_OUT)


@pytest.mark.parametrize(
    ("case", "few"),
    [("edit", 12), ("understand", 8), ("t2i_tf", 6), ("vq", 8), ("filter", 18), ("rope", 8), ("prep", 6), ("schedule", 4), ("dit", 4),
     ("pipe_edit", 5), ("pipe_t2i", 5), ("text_encoder", 2), ("vae", 3)],
)
def test_no_output_of_a_covered_case_goes_uncompared(verdicts, case, few):
    assert len(verdicts[case].compared) >= few


def test_the_command_prints_a_line_a_case_and_the_totals(capsys, folder):
    only(folder, "rope", "template")
    path = folder / "cases.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"tensors": data["tensors"] | {"unknown.x": {}}}))
    assert parity.main(["star", "--golden", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["rope", "template", "unknown"]
    assert "max abs error" in lines[0] and "ok" in lines[0] and "not covered: " in lines[2]
    assert lines[-1] == "2 ok, 0 failed, 1 not covered"


@pytest.mark.parametrize(
    ("case", "tensor", "change_by"),
    [
        ("vq", "vq.pre_quant", 3e-4),
        ("t2i_greedy", "t2i_greedy.vq_ids", 1),
        ("filter", "filter.probs_4", 1e-4),
        ("understand", "understand.logits", 3e-4),
        ("vae", "vae.posterior_mean", 3e-4),
    ],
)
def test_a_wrong_number_fails(capsys, folder, case, tensor, change_by):
    only(folder, case, "template")

    def spoil(values):
        values = values.clone()
        values.view(-1)[3] += change_by
        return values

    change(folder / "cases.safetensors", tensor, spoil)
    assert parity.main(["star", "--golden", str(folder)]) == 1
    out = capsys.readouterr().out
    failed = next(line for line in out.splitlines() if line.startswith(case))
    assert "FAIL" in failed and tensor.removeprefix(f"{case}.") in failed
    assert "1 ok, 1 failed" in out


def test_weights_that_do_not_fit_fail_by_name(capsys, folder):
    only(folder, "vq", "rope")
    change(folder / "model.safetensors", "stacked_ar.model.norm.weight", lambda _: None)
    assert parity.main(["star", "--golden", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "stack.norm.weight" in out and "1 ok, 1 failed" in out


def test_unknown_cases_are_not_passed_over(capsys, folder):
    path = folder / "cases.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tensors": {"novel.x": {}}, "parameters": {}}))
    assert parity.main(["star", "--golden", str(folder)]) == 0
    assert "no check knows this case" in capsys.readouterr().out


def test_a_folder_that_is_none_ends_with_two(tmp_path, capsys):
    assert parity.main(["star", "--golden", str(tmp_path)]) == 2
    assert "cases.json" in capsys.readouterr().err
    with pytest.raises(BadInput, match="No parity checks"):
        suite_of("nothing")


def test_distance():
    inf, nan = math.inf, math.nan
    assert distance(torch.tensor([1.0, -inf]), torch.tensor([1.5, -inf])) == 0.5
    assert distance(torch.tensor([1.0, 0.0]), torch.tensor([1.0, -inf])) == inf
    assert distance(torch.tensor([nan]), torch.tensor([nan])) == inf
    assert distance(torch.zeros(2, 1), torch.zeros(1, 2)) == inf
    assert distance(torch.tensor([1], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)) == 1


def other_sizes() -> dict:
    """A release of other dimensions: other depths, heads, window, codes and picture, and tied embeddings."""
    data = json.loads((GOLDEN / "config.json").read_text())
    data["pixel_encoder"] |= {"image_token_size": 70, "n_embed": 12}
    data["pixel_adapter"] |= {"depth": 2, "input_dim": 12, "n_embed": 48}
    data["stacked_ar"]["num_layers"] = 3
    tiny = data["tiny"]
    tiny["vq_model"] |= {
        "encoder_ch_mult": [1, 2, 2], "decoder_ch_mult": [1, 1, 2], "ch": 16, "z_channels": 10, "num_res_blocks": 1, "attn_num_heads": 2,
        "codebook_size": 70, "codebook_embed_dim": 12, "groupnorm_groups": 8,
    }  # fmt: skip
    tiny["qwen2_5_vl"] |= {
        "hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1, "num_hidden_layers": 2, "tie_word_embeddings": True,
    }  # fmt: skip
    tiny["qwen2_5_vl"]["vision_config"] |= {
        "depth": 3, "hidden_size": 24, "num_heads": 3, "out_hidden_size": 48, "window_size": 112, "fullatt_block_indexes": [0, 2],
    }  # fmt: skip
    tiny["run_args"]["vq_image_size"] = 24
    return data


def test_a_folder_of_other_sizes_agrees_with_the_transformers_forward(tmp_path):
    data = other_sizes()
    torch.manual_seed(3)
    star = Star(checkpoint.read_release(data)).eval()
    save_file(released_names(star), tmp_path / "model.safetensors")
    reference = Qwen2_5_VLForConditionalGeneration._from_config(
        Qwen2_5_VLConfig(**json.loads(json.dumps(data["tiny"]["qwen2_5_vl"]))), attn_implementation="sdpa"
    ).eval()
    reference.load_state_dict(star.base.state_dict())

    cases = load_file(GOLDEN / "cases.safetensors")
    kept = {f"understand.{name}": cases[f"understand.{name}"] for name in ("image_uint8", "pixel_values", "image_grid_thw", "input_ids")}
    ids, grid, patches = kept["understand.input_ids"], kept["understand.image_grid_thw"], kept["understand.pixel_values"]
    kinds = (ids == data["tiny"]["special_tokens"]["<|image_pad|>"]).int()
    with torch.inference_mode():
        out = reference(input_ids=ids, pixel_values=patches, image_grid_thw=grid, mm_token_type_ids=kinds)
        kept["understand.logits"] = out.logits
        kept["understand.vit_embeds"] = reference.model.visual(patches, grid_thw=grid).pooler_output
        kept["understand.position_ids"] = reference.model.get_rope_index(ids, kinds, grid)[0]
        kept["vq.pixels"] = torch.rand(2, 3, 24, 24)
        kept["vq.pre_quant"] = star.pixel_encoder.pre_quant(kept["vq.pixels"])
        kept["vq.indices"] = star.pixel_encoder.encode(kept["vq.pixels"])
        kept["vq.quant"] = star.pixel_encoder.codes(kept["vq.indices"]).transpose(1, 2).reshape(2, 12, 6, 6)
        kept["vq.codes"] = kept["vq.indices"]
        kept["vq.decoded_from_quant"] = star.pixel_encoder.decode_codes(kept["vq.quant"][:1])
        kept["vq.codes_decoded"] = star.pixel_encoder.decode(kept["vq.codes"], (6, 6))
    save_file({key: value.clone().contiguous() for key, value in kept.items()}, tmp_path / "cases.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(data))
    (tmp_path / "cases.json").write_text(json.dumps({"tensors": {name: {} for name in kept}, "produced_with": {"pillow": "12.3.0"}}))

    verdicts = {verdict.case: verdict for verdict in walk(suite_of("star"), Golden(tmp_path))}
    assert verdicts["understand"].ok, verdicts["understand"].line()
    assert len(verdicts["understand"].compared) == 5
    assert verdicts["vq"].ok, verdicts["vq"].line()


def released_names(star: Star) -> dict[str, torch.Tensor]:
    """A state dict under the names of the release."""
    names = {
        "base.model.language_model.": "llm.model.", "base.model.visual.": "llm.visual.", "base.lm_head.": "llm.lm_head.",
        "stack.": "stacked_ar.model.", "pixel_": "pixel_",
    }  # fmt: skip
    state = {}
    for key, value in star.state_dict().items():
        ours = next(prefix for prefix in names if key.startswith(prefix))
        state[names[ours] + key.removeprefix(ours)] = value.clone().contiguous()
    return state
