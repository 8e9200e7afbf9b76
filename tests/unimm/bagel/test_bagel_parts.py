import copy
import math

import pytest
import torch
from bagel_toys import GOLDEN
from safetensors.torch import load_file

from unimm.bagel import flow
from unimm.bagel.checkpoint import load_checkpoint
from unimm.bagel.config import CONFIGS, BagelConfig
from unimm.bagel.context import Context
from unimm.bagel.denoise import Denoiser
from unimm.bagel.flow import MAIN, NO_IMAGE, NO_TEXT, Guidance, branches, combine, integrate
from unimm.bagel.mot import attend
from unimm.bagel.pictures import ResizeRule, fold, places, sincos_table, unfold
from unimm.bagel.taylor import StepCache
from unimm.bagel.tokenizer import load_words
from unimm.errors import BadInput


@pytest.fixture(scope="module")
def toy():
    return load_checkpoint(GOLDEN)


@pytest.fixture(scope="module")
def contexts(toy):
    """Three different contexts, as an edit has them."""
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        latents = torch.randn(4, toy.config.latent_width, generator=generator)
        seen, _ = toy.bagel.read_latents(Context(), latents, (2, 2), toy.words.marks, "seen")
        words = toy.words.encode("make it red")
        main, _ = toy.bagel.read_words(seen, words, "both")
        bare, _ = toy.bagel.read_words(Context(), words, "words")
    return {MAIN: main, NO_TEXT: seen, NO_IMAGE: bare}


def test_packed_branches_equal_branches_one_by_one(toy, contexts):
    x = torch.randn(6, toy.config.latent_width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = Denoiser(toy.bagel, contexts, (2, 3), toy.words.marks)
        found = together.velocities(together.hidden(x, 0.7, list(contexts)))
        for name, context in copy.deepcopy(contexts).items():
            alone = Denoiser(toy.bagel, {name: context}, (2, 3), toy.words.marks)
            torch.testing.assert_close(found[name], alone.velocities(alone.hidden(x, 0.7, [name]))[name], atol=1e-5, rtol=1e-5)
    assert together.different(list(contexts)) == 3
    assert (found[MAIN] - found[NO_TEXT]).abs().max() > 1e-3


def test_equal_contexts_are_computed_once(toy, contexts):
    same = {MAIN: contexts[MAIN], NO_TEXT: Context(), NO_IMAGE: contexts[MAIN]}
    noise = torch.randn(6, toy.config.latent_width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        denoiser = Denoiser(toy.bagel, same, (2, 3), toy.words.marks)
    steps = list(integrate(denoiser, noise, Guidance(4.0, 1.5, (0.4, 1.0)), 8, 3.0))
    assert [step.passes for step in steps] == [2] * 6 + [1]
    assert torch.equal(steps[0].velocities[MAIN], steps[0].velocities[NO_IMAGE])


def test_contexts_share_what_they_hold_and_the_noisy_picture_leaves_no_trace(toy, contexts):
    assert contexts[MAIN].pieces[0] is contexts[NO_TEXT].pieces[0]
    before = copy.deepcopy(contexts)
    noise = torch.randn(6, toy.config.latent_width)
    with torch.inference_mode():
        denoiser = Denoiser(toy.bagel, contexts, (2, 3), toy.words.marks)
    list(integrate(denoiser, noise, Guidance(interval=(0.0, 1.0)), 4, 3.0))
    for name, context in contexts.items():
        assert (context.length, context.rope) == (before[name].length, before[name].rope)
        for piece, old in zip(context.pieces, before[name].pieces, strict=True):
            assert torch.equal(piece.keys, old.keys) and torch.equal(piece.values, old.values)


def test_reading_in_two_segments_equals_one_pass_with_a_causal_mask(toy):
    ids = toy.words.encode("one two three")
    with torch.inference_mode():
        whole, _ = toy.bagel.read_words(Context(), ids)
        half, _ = toy.bagel.read_words(Context(), ids[:5])
        rest, _ = toy.bagel.read_words(half, ids[5:])
    for layer in range(toy.config.language.num_hidden_layers):
        torch.testing.assert_close(rest.keys(layer), whole.keys(layer), atol=1e-5, rtol=1e-5)
    assert rest.rope == whole.rope == len(ids)


def test_attention_against_the_formula():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 4, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    for causal in (False, True):
        expected = torch.empty(3, 4, 8)
        for row in range(3):
            for head in range(4):
                seen = 5 - 3 + row + 1 if causal else 5
                weights = (q[row, head] @ k[head // 2, :seen].T / math.sqrt(8)).softmax(-1)
                expected[row, head] = weights @ v[head // 2, :seen]
        torch.testing.assert_close(attend(q, k, v, causal), expected.flatten(1))


def test_the_step_cache_computes_the_released_steps_and_predicts_polynomials_exactly():
    cache, computed, worst = StepCache(), [], 0.0
    for step in range(20):
        value = torch.tensor([3.0 - 2.0 * step])
        if cache.due():
            computed.append(step)
            cache.keep(value)
        else:
            worst = max(worst, (cache.predict() - value).abs().item())
    assert computed == [0, 1, 2, 3, 4, 7, 10, 13, 16, 19]
    assert worst < 1e-3


def test_a_branch_outside_the_interval_does_not_advance_its_step_cache(toy, contexts):
    noise = torch.randn(6, toy.config.latent_width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        denoiser = Denoiser(toy.bagel, contexts, (2, 3), toy.words.marks)
    late = list(integrate(denoiser, noise, Guidance(4.0, 2.0, (0.0, 0.9)), 16, 3.0, cache=True))
    plain = list(integrate(denoiser, noise, Guidance(4.0, 2.0, (0.0, 0.9)), 16, 3.0))
    first = next(step.index for step in late if step.scales[0] > 1)
    assert first > 0
    main = (0, 1, 2, 3, 4, 7, 10, 13)  # the late branches compute their own first five steps whatever the main one does
    assert [step.passes for step in late[first : first + 5]] == [2 + (index in main) for index in range(first, first + 5)]
    torch.testing.assert_close(late[4].x, plain[4].x)
    assert sum(step.passes for step in late) < sum(step.passes for step in plain)


def test_schedule_and_guidance():
    times, sizes = flow.schedule(50, 3.0)
    assert len(times) == 49 and times[0] == 1 and sizes.sum().item() == pytest.approx(1) and times[-1] > 0
    assert Guidance(interval=(0.4, 1.0)).at(0.4) == (1.0, 1.0) and Guidance(interval=(0.4, 1.0)).at(1.0) == (4.0, 1.5)
    assert branches(1.0, 2.0) == (MAIN,) and branches(4.0, 1.0) == (MAIN, NO_TEXT) and len(branches(4.0, 2.0)) == 3
    velocity = {name: torch.randn(5, 4) for name in (MAIN, NO_TEXT, NO_IMAGE)}
    for kind in flow.RENORMS:
        mixed = combine(velocity, Guidance(renorm=kind), 4.0, 1.0)
        assert mixed.norm() <= velocity[MAIN].norm() * 1.0001
    with pytest.raises(BadInput, match="local"):
        Guidance(renorm="local")


def test_tables_of_places_can_be_rebuilt():
    state = load_file(GOLDEN / "ema.safetensors")
    for name in ("latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"):
        stored = state[name]
        torch.testing.assert_close(sincos_table(math.isqrt(len(stored)), stored.shape[1]), stored, atol=1e-6, rtol=0)


def test_pictures_fold_and_unfold_and_places_are_checked():
    cells = torch.randn(3, 6, 8)
    assert torch.equal(unfold(fold(cells, 2), (3, 4), 2), cells)
    assert places((2, 3), 10).tolist() == [0, 1, 2, 10, 11, 12]
    with pytest.raises(BadInput, match="smaller"):
        places((2, 11), 10)


def test_published_row():
    config = CONFIGS["BAGEL-7B-MoT"]
    assert (config.name, config.full_side, config.token_pixels, config.latent_width) == ("BAGEL-7B-MoT", 1024, 16, 64)
    assert config.vae_rule == ResizeRule(1024, 512, 16) and config.vit_rule == ResizeRule(980, 224, 14)
    assert BagelConfig(latent_side=32).name == "BAGEL"


def test_the_tokenizer_from_the_older_files_is_the_same(tmp_path):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((GOLDEN / name).read_bytes())
    one, other = load_words(GOLDEN), load_words(tmp_path)
    for text in ("The cat's 2 hats, naïve\n\n ok  ", "<|im_end|>", "日本 🙂", ""):
        assert one.encode(text) == other.encode(text)
        assert one.decode(one.encode(text)[1:]) == text
    assert one.marks == other.marks


def test_control_words_in_a_visitors_text_stay_words():
    words = load_words(GOLDEN)
    ids = words.encode("a <|vision_start|> b")
    assert words.marks.image_begin not in ids and words.marks.image_begin in words.encode("a <|vision_start|> b", own=True)
    assert words.decode([*words.encode("one")[1:-1], words.marks.text_begin, 40]) == "one"
