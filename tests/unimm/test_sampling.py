import math
from dataclasses import dataclass

import pytest
import torch

from unimm.sampling import filter_logits, guided, probabilities, sample

NO = -math.inf


@dataclass(frozen=True)
class How:
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def test_top_k_keeps_ties_and_caps_at_the_vocabulary():
    logits = torch.tensor([[3.0, 1.0, 3.0, 2.0]])
    assert filter_logits(logits, 1).tolist() == [[3.0, NO, 3.0, NO]]
    assert filter_logits(logits, 3).tolist() == [[3.0, NO, 3.0, 2.0]]
    assert filter_logits(logits, 99).equal(logits)
    assert filter_logits(logits, 0).equal(logits)


def test_top_p_keeps_the_entry_that_crosses_and_never_nothing():
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert filter_logits(logits, 0, 0.6).isinf().tolist() == [[True, False, False]]
    assert filter_logits(logits, 0, 0.4).isinf().tolist() == [[True, False, True]]
    assert filter_logits(logits, 0, 1e-6).isinf().tolist() == [[True, False, True]]
    assert filter_logits(logits, 0, 1.0).equal(logits)


def test_top_k_comes_before_top_p():
    # After top-k the two left are 0.625 and 0.375 of the mass; on the whole vocabulary 0.55 would need both.
    logits = torch.tensor([[0.5, 0.3, 0.1, 0.1]]).log()
    assert filter_logits(logits, 2, 0.55).isinf().tolist() == [[False, True, True, True]]
    assert filter_logits(logits, 0, 0.55).isinf().tolist() == [[False, False, True, True]]


def test_filtering_leaves_its_input_alone():
    logits = torch.randn(2, 9)
    before = logits.clone()
    filter_logits(logits, 2, 0.5)
    assert logits.equal(before)


def test_guidance_moves_away_from_the_unconditional_row():
    cond, uncond = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])
    assert guided(cond, uncond, 1.0).equal(cond)
    assert guided(cond, uncond, 3.0).tolist() == [4.0, -2.0]


def test_temperature_zero_takes_the_first_maximum_and_no_random_number():
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    assert sample(torch.tensor([[1.0, 5.0, 5.0]]), How(temperature=0), generator).tolist() == [1]
    assert probabilities(torch.tensor([[1.0, 5.0, 5.0]]), How(temperature=0)).tolist() == [[0.0, 1.0, 0.0]]
    assert generator.get_state().equal(state)


def test_one_seed_gives_one_draw_and_ids_keep_the_shape_of_the_rows():
    logits = torch.randn(4, 5, 50, generator=torch.Generator().manual_seed(0))
    draws = [sample(logits, How(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert draws[0].shape == (4, 5)
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])
    assert sample(logits[0, 0], How(), torch.Generator().manual_seed(1)).shape == ()


@pytest.mark.parametrize("how", [How(), How(temperature=0.5), How(top_k=3), How(temperature=2.0, top_k=4, top_p=0.9)])
def test_draws_follow_the_probabilities(how):
    logits = torch.tensor([1.5, 0.3, -0.4, 1.1, 0.0, -2.0])
    expected = probabilities(logits, how)
    count = 20000
    drawn = sample(logits.expand(count, -1), how, torch.Generator().manual_seed(5))
    seen = torch.bincount(drawn, minlength=6) / count
    assert torch.all(seen[expected == 0] == 0)
    spread = (expected * (1 - expected) / count).sqrt()
    assert torch.all((seen - expected).abs() <= 5 * spread + 1e-9)


def test_temperature_is_applied_before_the_filter():
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    # At temperature 0.5 the first token's share is 0.36/0.46, so it alone fills 0.7.
    assert probabilities(logits, How(temperature=0.5, top_p=0.7)).tolist() == [1.0, 0.0, 0.0]
    assert probabilities(logits, How(temperature=1.0, top_p=0.7))[1] > 0
