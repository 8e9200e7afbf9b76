import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from unimm.errors import BadInput
from unimm.star.checkpoint import read_release, translate
from unimm.star.vq import VQConfig, VQModel, to_uint8
from unimm.weights import load_strict

GOLDEN = Path(__file__).parents[1] / "golden" / "star"
CONV = VQConfig(
    ch=8, encoder_ch_mult=(1, 2, 2), decoder_ch_mult=(1, 2, 2), num_res_blocks=1, z_channels=12,
    codebook_size=50, codebook_dim=6, attn_heads=2, groups=4,
)  # fmt: skip
PATCH = replace(CONV, encoder="patch", patch_hidden=16, attn_heads=0)


def pixels(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(7)) * 2 - 1


@pytest.fixture(autouse=True)
def no_gradients():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("config", [CONV, PATCH])
def test_pictures_need_not_be_square(config):
    model, picture = VQModel(config).eval(), pixels(2, 3, 12, 20)
    ids = model.encode(picture)
    assert ids.shape == (2, 15)
    assert model.codes(ids).shape == (2, 15, 6)
    assert model.decode(ids, (3, 5)).shape == picture.shape
    assert model.grid(picture) == (3, 5)


def test_ids_run_row_by_row():
    model = VQModel(PATCH).eval()
    picture = pixels(1, 3, 8, 12)
    rows = torch.cat([model.encode(picture[:, :, :4]), model.encode(picture[:, :, 4:])], 1)
    assert model.encode(picture).equal(rows)


def test_a_patch_encoder_sees_one_patch_only():
    model, picture = VQModel(PATCH).eval(), pixels(1, 3, 16, 16)
    changed = picture.clone()
    changed[:, :, 4:8, 8:12] = pixels(1, 3, 4, 4)
    gap = (model.pre_quant(picture) - model.pre_quant(changed)).abs().amax((0, 1))
    assert gap[1, 2] > 1e-3
    gap[1, 2] = 0
    assert gap.max() == 0


def test_the_nearest_code_is_nearest():
    model = VQModel(CONV).eval()
    z = torch.randn(2, 6, 3, 2)
    flat = z.permute(0, 2, 3, 1).reshape(-1, 1, 6)
    distances = (flat - model.quantize.embedding.weight).square().sum(-1)
    assert model.nearest(z).flatten().equal(distances.argmin(1))


def test_a_code_vector_is_its_own_nearest():
    model = VQModel(CONV).eval()
    ids = torch.arange(12).view(1, 12)
    z = model.codes(ids).transpose(1, 2).reshape(1, 6, 3, 4)
    assert model.nearest(z).equal(ids)
    assert torch.allclose(model.decode(ids, (3, 4)), model.decode_codes(z), atol=1e-5)


def test_autocast_searches_in_full_precision():
    model = VQModel(CONV).eval()
    z = torch.randn(1, 6, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.nearest(z).equal(model.nearest(z.float()))
        assert model.encode(pixels(1, 3, 8, 8)).shape == (1, 4)


def test_no_heads_means_no_attention_weights():
    assert not [key for key in VQModel(replace(CONV, attn_heads=0)).state_dict() if ".attn." in key or ".mid.1." in key]


def test_sizes_that_do_not_fit_are_refused():
    model = VQModel(CONV)
    with pytest.raises(BadInput, match="multiples of 4"):
        model.encode(pixels(1, 3, 10, 8))
    with pytest.raises(BadInput, match="5 ids"):
        model.decode(torch.zeros(1, 5, dtype=torch.long), (2, 3))
    with pytest.raises(BadInput, match="patch_hidden"):
        replace(PATCH, patch_hidden=0)
    with pytest.raises(BadInput, match="same length"):
        replace(CONV, decoder_ch_mult=(1, 2))


def test_levels_are_cut_not_rounded():
    values = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert to_uint8(values)[0, 0, :, 0].tolist() == [0, 0, 127, 254, 255, 255]


def test_released_weights_load_strictly_and_reproduce_ids():
    config = read_release(json.loads((GOLDEN / "config.json").read_text())).vq
    state = load_file(GOLDEN / "model.safetensors") | {"pixel_encoder.quantize.codebook_used": torch.zeros(9)}
    model = VQModel(config).eval()
    load_strict(model, {k.removeprefix("pixel_encoder."): v for k, v in translate(state).items() if k.startswith("pixel_encoder.")})
    cases = load_file(GOLDEN / "cases.safetensors")
    assert model.encode(cases["vq.pixels"]).equal(cases["vq.indices"])
    assert torch.allclose(model.decode(cases["vq.codes"], (4, 4)), cases["vq.codes_decoded"], atol=1e-4)
