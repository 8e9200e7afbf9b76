"""A folder of other dimensions, with the library's own forward passes and ``generate`` as the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import Emu3ForCausalLM, Emu3TextConfig, Emu3VQVAE, Emu3VQVAEConfig

from unimm.emu3.config import Ids
from unimm.emu3.grammar import Grid, allowed, header, picture_ids
from unimm.parity import Golden, suite_of, walk

IDS = Ids(pad=60, bos=71, eos=72, eol=68, eof=69, img=73, boi=74, eoi=75, visual=76, codes=40)
CONTROLS = ("pad", "bos", "eos", "eol", "eof", "img", "boi", "eoi")
GRID, READ = Grid(3, 2), (24, 40)
LANGUAGE = {
    "vocab_size": 120, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 3, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
}  # fmt: skip
CODEC = {
    "codebook_size": 40, "embed_dim": 6, "z_channels": 6, "double_z": False, "in_channels": 3, "out_channels": 3,
    "temporal_downsample_factor": 2, "ch": 32, "ch_mult": [1, 2, 3], "num_res_blocks": 1, "attn_resolutions": [2],
}  # fmt: skip


def original_codec_name(key: str) -> str:
    """The original's name of a native codec tensor."""
    key = key.replace("encoder.down_block.down", "encoder.down").replace("decoder.up_block.up", "decoder.up")
    key = re.sub(r"attn_norms\.(\d+)", r"attn.\1.norm", key).replace("middle_block.attn_norm", "mid.attn_1.norm")
    key = re.sub(r"\.(q|k|v)_proj\.", r".\1.", key).replace("out_proj", "proj_out")
    return key.replace("middle_block", "mid")


def write_part(folder: Path, config: dict[str, object], state: dict[str, torch.Tensor]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors")


def encode(size: str) -> list[int]:
    return [10 if letter == "*" else int(letter) for letter in size]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    torch.manual_seed(4)
    rope = {"rope_type": "default", "rope_theta": 5e5}
    text = Emu3TextConfig(**LANGUAGE, pad_token_id=IDS.pad, bos_token_id=IDS.bos, eos_token_id=IDS.eos, rope_parameters=rope)
    vq = Emu3VQVAEConfig(
        codebook_size=40, embed_dim=6, latent_channels=6, temporal_downsample_factor=2, base_channels=32, channel_multiplier=[1, 2, 3],
        num_res_blocks=1, attn_resolutions=[2], hidden_size=96,
    )  # fmt: skip
    net, codec = Emu3ForCausalLM(text).eval(), Emu3VQVAE(vq).eval()
    with torch.no_grad():
        net.lm_head.weight.mul_(30)
        for module in codec.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2)
    named = {f"{name}_token_id": getattr(IDS, name) for name in CONTROLS}
    matrices = {key: value[:, :, None, None] if key.endswith("_proj.weight") else value for key, value in codec.state_dict().items()}
    write_part(folder / "lm", {"model_type": "Emu3", **LANGUAGE, "rope_theta": 5e5, "image_area": 256, **named}, net.state_dict())
    write_part(folder / "vq", {"model_type": "Emu3VisionVQ", **CODEC}, {original_codec_name(key): value for key, value in matrices.items()})
    with torch.inference_mode():
        kept = reference(net, codec)
    save_file({key: value.clone().contiguous() for key, value in kept.items()}, folder / "cases.safetensors")
    tokens = {name: getattr(IDS, name) for name in CONTROLS} | {"vis0": IDS.visual, "digit0": 0, "star": 10}
    (folder / "cases.json").write_text(json.dumps({
        "tensors": {key: [] for key in kept}, "tokens": tokens, "dims": {"min_pixels": 64, "max_pixels": 4096},
        "grid": {"generation": [GRID.rows, GRID.columns]}, "meta": {},
    }))  # fmt: skip
    return folder


def reference(net: Emu3ForCausalLM, codec: Emu3VQVAE) -> dict[str, torch.Tensor]:
    """Codes, pixels, logits and drawn tokens by the library alone."""
    pictures = torch.rand(2, 3, *READ) * 2 - 1
    codes = torch.stack(codec.encode(pictures, torch.tensor([READ, READ])).image_tokens)
    seen = [picture_ids(grid, IDS, encode) for grid in codes.tolist()]
    rows = [[IDS.bos, 20, 21, *seen[0], 30], [IDS.bos, *seen[1], 31, 32, 33, 34]]
    longest = max(map(len, rows))
    ids = torch.tensor([[IDS.pad] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)
    prompt, negative = ([IDS.bos, *words, *header(GRID, IDS, encode)] for words in ([20, 21, 22], [40, 41]))
    drawn = net.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), guidance_scale=2.5,
        negative_prompt_ids=torch.tensor([negative]), negative_prompt_attention_mask=torch.ones(1, len(negative), dtype=torch.long),
        prefix_allowed_tokens_fn=lambda _, so_far: _allowed(len(so_far) - len(prompt) + 1), do_sample=False, max_new_tokens=GRID.length,
    )[:, len(prompt) :]  # fmt: skip
    branches = [net(torch.tensor([[*row, *drawn[0, :3].tolist()]])).logits[0, len(row) - 1 :] for row in (prompt, negative)]
    scores = [branch.log_softmax(-1) for branch in branches]
    cells = drawn[0, : GRID.rows * (GRID.columns + 1)].view(GRID.rows, -1)[:, :-1] - IDS.visual
    return {
        "vq.image": pictures, "vq.image_codes": codes, "vq.image_decoded": codec.decode(codes),
        "und.input_ids": ids, "und.attention_mask": mask, "und.position_ids": positions,
        "und.logits": net(ids, attention_mask=mask, position_ids=positions).logits,
        "und.greedy_ids": torch.tensor([_greedy(net, row, 4) for row in rows]),
        "gen.prompt_ids": torch.tensor([prompt]), "gen.negative_ids": torch.tensor([negative]), "gen.cfg2.5.greedy_ids": drawn,
        "gen.cfg2.5.codes": cells[None], "gen.cfg2.5.image": codec.decode(cells[None]), "gen.cfg2.5.cond_logits": branches[0],
        "gen.cfg2.5.uncond_logits": branches[1], "gen.cfg2.5.guided_log_scores": scores[1] + 2.5 * (scores[0] - scores[1]),
    }  # fmt: skip


def _allowed(offset: int) -> list[int]:
    token = allowed(offset, GRID, IDS)
    return list(range(IDS.visual, IDS.visual + IDS.codes)) if token is None else [token]


def _greedy(net: Emu3ForCausalLM, row: list[int], count: int) -> list[int]:
    ids = list(row)
    for _ in range(count):
        logits = net(torch.tensor([ids])).logits[0, -1]
        logits[IDS.eos] = -torch.inf
        ids.append(int(logits.argmax()))
    return ids[len(row) :]


def test_a_folder_of_other_sizes_agrees_with_the_library(folder) -> None:
    verdicts = {verdict.case: verdict for verdict in walk(suite_of("emu3"), Golden(folder))}
    assert {name: len(verdict.compared) for name, verdict in verdicts.items()} == {"gen": 8, "und": 5, "vq": 3}
    assert all(verdict.ok for verdict in verdicts.values()), [verdict.line() for verdict in verdicts.values()]
