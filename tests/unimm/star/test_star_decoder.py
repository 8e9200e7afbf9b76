"""The diffusion decoder at toy size: what its branches, batches and draws promise beyond the reference numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unimm.errors import BadInput, MissingWeights
from unimm.star.checkpoint import decoder_part
from unimm.star.decoder import DRAWN, EDITED, EDITING, DiffusionDecoder, Guidance, Prompt, with_defaults
from unimm.star.decoder_config import LuminaConfig, read_decoder, read_lumina
from unimm.star.lumina import VARIANTS
from unimm.weights import read_state

GOLDEN = Path(__file__).parents[2] / "golden" / "star"


@pytest.fixture(scope="module")
def data() -> dict:
    return json.loads((GOLDEN / "config.json").read_text())


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return decoder_part(read_state(GOLDEN))


@pytest.fixture(scope="module")
def decoder(data: dict, state: dict[str, torch.Tensor]) -> DiffusionDecoder:
    return DiffusionDecoder.load(read_decoder(data), state, dtype=torch.float32)


def inputs(decoder: DiffusionDecoder, words: int = 5) -> tuple[torch.Tensor, dict[bool, Prompt], torch.Tensor, torch.Tensor]:
    """Noise, prompts of different lengths, a map of codes and a source, all seeded."""
    random = torch.Generator().manual_seed(2)
    row, side = decoder.config.transformer, decoder.config.resolution // decoder.config.factor
    prompts = {full: decoder.read(torch.randint(3, 90, (1, n), generator=random), torch.ones(1, n, dtype=torch.long))
               for full, n in ((True, words), (False, 1))}  # fmt: skip
    shapes = (row.latent_channels, row.vq_dim, row.latent_channels)
    latents, codes, source = (torch.randn(1, width, side, side, generator=random) for width in shapes)
    return latents, prompts, codes, source


def last(decoder: DiffusionDecoder, guidance: Guidance, source: torch.Tensor | None = None, **changed: torch.Tensor) -> torch.Tensor:
    latents, prompts, codes, _ = inputs(decoder)
    given = {"latents": latents, "codes": codes} | changed
    return list(decoder.refine(given["latents"], prompts, given["codes"], source, guidance))[-1].latents


def test_branches_in_one_batch_are_branches_alone(decoder: DiffusionDecoder) -> None:
    latents, prompts, codes, source = inputs(decoder)
    with torch.inference_mode():
        together = decoder._velocities(list(EDITING.values()), latents, 0.3, prompts, codes, source)
        for branch, velocity in zip(EDITING.values(), together, strict=True):
            alone = decoder._velocities([branch], latents, 0.3, prompts, codes, source)[0]
            torch.testing.assert_close(velocity, alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1]) and not torch.allclose(together[1], together[2])


def test_the_last_step_takes_no_guidance_from_words(decoder: DiffusionDecoder) -> None:
    one = [last(decoder, Guidance(1, words, 1.0)) for words in (1.0, 9.0)]
    assert one[0].equal(one[1])
    two = [last(decoder, Guidance(2, words, 1.0)) for words in (1.0, 9.0)]
    assert not torch.allclose(two[0], two[1])


def test_codes_and_source_reach_the_picture(decoder: DiffusionDecoder) -> None:
    codes, source = inputs(decoder)[2:]
    plain = last(decoder, Guidance(2, 3.0, 1.5))
    assert not torch.allclose(plain, last(decoder, Guidance(2, 3.0, 1.5), codes=-codes), atol=1e-3)
    edited = last(decoder, Guidance(2, 3.0, 1.5, 1.0), source)
    assert not torch.allclose(edited, last(decoder, Guidance(2, 3.0, 1.5, 1.0), -source), atol=1e-3)
    assert not torch.allclose(edited, last(decoder, Guidance(2, 3.0, 1.5, 0.0), source), atol=1e-3)


def test_codes_of_mean_zero_leave_their_branch_out(decoder: DiffusionDecoder) -> None:
    _, _, codes, source = inputs(decoder)
    nothing = [last(decoder, Guidance(2, 3.0, 1.5, weight), source, codes=torch.zeros_like(codes)) for weight in (0.0, 4.0)]
    assert nothing[0].equal(nothing[1])


def test_what_stands_behind_the_valid_words_changes_nothing(decoder: DiffusionDecoder) -> None:
    latents, prompts, codes, _ = inputs(decoder)
    words = prompts[True]
    padded = Prompt(torch.cat([words.features, torch.full_like(words.features, 7.0)], 1),
                    torch.cat([words.mask, torch.zeros_like(words.mask)], 1))  # fmt: skip
    plain, longer = (list(decoder.refine(latents, prompts | {True: p}, codes, None, Guidance(2, 3.0, 1.5))) for p in (words, padded))
    torch.testing.assert_close(plain[-1].latents, longer[-1].latents, atol=1e-5, rtol=1e-4)


def test_the_clean_latents_of_the_last_step_are_the_latents(decoder: DiffusionDecoder) -> None:
    latents, prompts, codes, _ = inputs(decoder)
    step = list(decoder.refine(latents, prompts, codes, None, Guidance(3, 3.0, 1.5)))[-1]
    torch.testing.assert_close(step.clean, step.latents)
    assert (step.done, step.total) == (3, 3)


def test_a_source_is_drawn_from_its_posterior_by_the_generator(decoder: DiffusionDecoder) -> None:
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean = decoder.encode(pixels)
    one, again, other = (decoder.encode(pixels, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert one.equal(again) and not one.equal(other) and not one.equal(mean)
    assert decoder.decode(one).shape == pixels.shape


def test_another_size_is_only_other_fields() -> None:
    row = LuminaConfig(hidden_size=48, num_layers=1, num_refiner_layers=1, num_attention_heads=3, num_kv_heads=3, multiple_of=16,
                       latent_channels=3, vq_dim=7, axes_dim_rope=(4, 6, 6), cap_feat_dim=10)  # fmt: skip
    picture, text, mask = torch.randn(2, 10, 8, 6), torch.randn(2, 4, 10), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    with torch.inference_mode():
        seq = VARIANTS["seq"](row)(picture, torch.tensor([0.1, 0.2]), text, mask)
        ref = VARIANTS["ref"](row)(picture, torch.tensor([0.1, 0.2]), text, mask, [torch.randn(2, 10, 4, 4), torch.randn(2, 10, 6, 2)])
    assert seq.shape == ref.shape == (2, 3, 8, 6)


def test_without_a_tiny_block_the_row_is_the_published_one(data: dict) -> None:
    plain = {key: value for key, value in data.items() if key != "tiny"}
    plain["pixel_encoder"] = plain["pixel_encoder"] | {"n_embed": 512}
    row = read_decoder(plain)
    assert row.transformer == LuminaConfig() and (row.shift, row.resolution, row.factor) == (6.0, 1024, 8)
    transformer = {"in_channels": 16, "num_layers": 4, "_class_name": "x", "axes_dim_rope": [8, 8, 8]}
    other = read_decoder(plain, {"scheduler": {"shift": 3.0}, "transformer": transformer})
    assert (other.shift, other.transformer.num_layers, other.transformer.latent_channels, other.transformer.vq_dim) == (3.0, 4, 16, 512)


def test_settings_that_do_not_fit_are_named(data: dict, state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(BadInput, match="'seq' or 'ref'"):
        read_lumina({}, "other", 8)
    with pytest.raises(BadInput, match="fixed shift"):
        read_decoder({key: value for key, value in data.items() if key != "tiny"}, {"scheduler": {"use_dynamic_shifting": True}})
    short = {key: value for key, value in state.items() if key != "transformer.x_embedder.bias"}
    with pytest.raises(MissingWeights, match=r"x_embedder\.bias"):
        DiffusionDecoder.load(read_decoder(data), short)


def test_published_settings_stand_where_nothing_else_is_asked() -> None:
    assert with_defaults(EDITED, 0, 0.0, 0.0) == EDITED
    assert with_defaults(DRAWN, 7, 0.0, 2.0) == Guidance(7, DRAWN.words, 2.0)
