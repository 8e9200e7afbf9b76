"""Interaction of attention maps: spans, masks, curves while decoding, and the maps themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from unimm.analysis import decode_curve, interaction, mark, per_step, runs, without_first
from unimm.analysis.intensity import intensity
from unimm.analysis.spans import all_drawing, less, released_drawing, shown
from unimm.analysis.watch import attention_map, eager_maps, fused_maps
from unimm.errors import BadInput


def maps(layers: int = 3, batch: int = 2, heads: int = 2, length: int = 9) -> torch.Tensor:
    """Causal attention of random numbers."""
    torch.manual_seed(5)
    scores = torch.randn(layers, batch, heads, length, length)
    return scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


def test_by_hand() -> None:
    attention = maps()
    found = interaction(attention, [[(5, 7), (8, 9)], [(4, 9)]], [[(1, 3)], [(0, 2), (3, 4)]])
    first = attention[:, 0][:, :, [5, 6, 8]][:, :, :, [1, 2]].sum(-1).mean((1, 2))
    second = attention[:, 1][:, :, 4:][:, :, :, [0, 1, 3]].sum(-1).mean((1, 2))
    torch.testing.assert_close(found, torch.stack([first, second], 1))
    assert found.dtype == torch.float32


def test_all_columns_hold_all_mass_and_halves_add_up() -> None:
    attention, rows = maps(batch=1), [[(3, 9)]]
    assert interaction(attention, rows, [[(0, 9)]]).flatten().tolist() == pytest.approx([1.0] * 3)
    parts = interaction(attention, rows, [[(0, 4)]]) + interaction(attention, rows, [[(4, 9)]])
    assert parts.flatten().tolist() == pytest.approx([1.0] * 3)


def test_layers_are_read_one_at_a_time() -> None:
    alive = []

    def one_by_one():
        for layer in maps(batch=1):
            alive.append(layer)
            yield layer
            assert alive.pop() is layer

    assert interaction(one_by_one(), [[(3, 9)]], [[(0, 2)]]).shape == (3, 1)


def test_half_precision_is_summed_in_full() -> None:
    attention = torch.full((1, 1, 1, 4096, 4096), 1 / 4096, dtype=torch.bfloat16)
    assert float(interaction(attention, [[(4000, 4096)]], [[(0, 4096)]])) == 1.0


def test_padding_on_the_left_only_shifts_spans() -> None:
    attention = maps(batch=1)
    padded = torch.zeros(3, 1, 2, 13, 13)
    padded[..., 4:, 4:] = attention
    here = interaction(attention, [[(5, 9)]], [[(0, 4)]])
    torch.testing.assert_close(interaction(padded, [[(9, 13)]], [[(4, 8)]]), here)
    torch.testing.assert_close(interaction(padded, [[(9, 13)]], [[(3, 8)]]), here)


@pytest.mark.parametrize(
    ("queries", "keys"), [([(3, 10)], [(0, 2)]), ([(3, 3)], [(0, 2)]), ([(-1, 2)], [(0, 2)]), ([], [(0, 2)]), ([(3, 4)], [])]
)
def test_bad_spans_are_named(queries, keys) -> None:
    with pytest.raises(BadInput):
        interaction(maps(batch=1), [queries], [keys])
    with pytest.raises(BadInput, match="no attention map"):
        interaction([], [[(3, 4)]], [[(0, 1)]])


def test_a_sample_without_rows_is_nought_in_a_batch() -> None:
    rows, columns = torch.zeros(2, 9, dtype=torch.bool), torch.zeros(2, 9, dtype=torch.bool)
    rows[0, 5:], columns[:, :2] = True, True
    assert intensity(maps()[0], rows, columns).tolist() == [pytest.approx(float(maps()[0, 0, :, 5:, :2].sum(-1).mean())), 0.0]


def test_marks_and_runs_are_inverse() -> None:
    spans = ((0, 2), (4, 5), (7, 9))
    assert runs(mark([spans], 9)[0]) == spans
    assert without_first(spans) == ((1, 2), (4, 5), (7, 9)) and without_first(((3, 4), (6, 8))) == ((6, 8),)
    assert less(spans, ((1, 8),)) == ((0, 1), (8, 9))
    assert shown(spans) == "0-2, 4-5, 7-9 (5 positions)"


def test_released_spans_are_one_off_and_the_plain_ones_are_not() -> None:
    seen = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1], [1] * 8])
    assert released_drawing(seen, 3) == ([((5, 7),)] * 2, [((1, 4),), ((0, 4),)])
    assert all_drawing(seen, 3) == ([((5, 8),)] * 2, [((2, 5),), ((0, 5),)])


def test_decoding_step_by_step_is_the_teacher_forced_curve() -> None:
    attention = maps(batch=1)[:, 0]
    steps = [attention[:, :, at, : at + 1] for at in range(4, 9)]
    torch.testing.assert_close(decode_curve(steps, (0, 4)), interaction(attention[:, None], [[(4, 9)]], [[(0, 4)]])[:, 0])
    assert per_step(steps, (0, 4)).shape == (5, 3)
    with pytest.raises(BadInput, match="two tokens"):
        per_step([], (0, 4))


class Layer(torch.nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(x, x[:, :1], x[:, :1], is_causal=self.causal, enable_gqa=True)


def test_maps_of_the_fused_kernel_are_its_own() -> None:
    torch.manual_seed(1)
    x, found = torch.randn(1, 2, 5, 8), []
    inside, outside = Layer(True), Layer(False)
    plain = inside(outside(x))
    with fused_maps([inside], found.append):
        assert torch.equal(inside(outside(x)), plain)
    assert len(found) == 1 and found[0].shape == (1, 2, 5, 5)
    torch.testing.assert_close(found[0] @ outside(x)[:, :1], plain)
    inside(x)
    assert len(found) == 1


@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal", "scale", "positions"])
def test_attention_map_agrees_with_the_kernel(kind: str) -> None:
    torch.manual_seed(2)
    query, key, value = torch.randn(3, 2, 3, 6, 4)
    mask = torch.rand(6, 6) > 0.3
    mask.fill_diagonal_(True)
    how = {"none": {}, "bool": {"attn_mask": mask}, "float": {"attn_mask": torch.randn(6, 6)}, "causal": {"is_causal": True},
           "scale": {"scale": 0.3}, "positions": {}}[kind]  # fmt: skip
    args = (mask,) if kind == "positions" else ()
    torch.testing.assert_close(
        attention_map(query, key, value, *args, **how) @ value, scaled_dot_product_attention(query, key, value, *args, **how)
    )
    nothing = attention_map(query, key, attn_mask=torch.zeros(6, 6, dtype=torch.bool))
    assert not nothing.any() and not math.isnan(float(nothing.sum()))


def test_attention_without_maps_is_refused() -> None:
    class Fused(torch.nn.Module):
        def forward(self, x):
            return x, None

    module = Fused()
    with pytest.raises(BadInput, match="eager"), eager_maps([module], print):
        module(torch.zeros(1))
