"""Building modules from weights: tied and computed tensors, precision, quantisation, and blocks on several devices."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor, nn

from unimm import quantize, spread
from unimm.errors import BadInput, MissingWeights, ModelUnavailable
from unimm.weights import build

WIDTH, WORDS = 64, 32
HAS_LIBRARY = importlib.util.find_spec("bitsandbytes") is not None


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, tables: tuple[Tensor, ...] = ()) -> Tensor:
        return x + self.down(self.up(self.norm(x)).relu())


class Net(nn.Module):
    """Words in, logits out; the head is tied to the table, and one table is computed."""

    def __init__(self, layers: int = 4) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("places", torch.arange(WIDTH) / WIDTH, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids) + self.places.to(self.table.weight.dtype)
        for block in self.blocks:
            x = block(x, (self.places,))
        return self.head(x)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return Net().state_dict()


@pytest.fixture(scope="module")
def expected(state) -> Tensor:
    net = Net()
    net.load_state_dict(state)
    return net(IDS).detach()


IDS = torch.arange(10)[None]


def test_tied_and_computed_tensors_come_out_right(state, expected) -> None:
    net = build(Net, state)
    assert net(IDS).equal(expected) and net.head.weight.data_ptr() == net.table.weight.data_ptr()
    assert not net.training and not any(weight.requires_grad for weight in net.parameters())
    assert build(Net, {key: value for key, value in state.items() if key != "head.weight"})(IDS).equal(expected)


def test_weights_that_differ_are_not_tied(state) -> None:
    other = state | {"head.weight": torch.randn(WORDS, WIDTH)}
    net = build(Net, other)
    assert net.head.weight.equal(other["head.weight"]) and net.table.weight.equal(state["table.weight"])


def test_precision_is_for_weights_and_not_for_computed_tables(state) -> None:
    net = build(Net, state, dtype=torch.bfloat16)
    assert net(IDS).dtype == torch.bfloat16 and net.places.dtype == torch.float32


def test_misfits_are_named(state) -> None:
    with pytest.raises(MissingWeights, match=r"toy: 1 missing \(blocks\.0\.norm\.bias\); 1 unexpected \(more\)"):
        build(Net, {key: value for key, value in state.items() if key != "blocks.0.norm.bias"} | {"more": torch.zeros(1)}, "toy")


def test_what_nothing_fills_is_named() -> None:
    class Holed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.empty(3), persistent=False)

    with pytest.raises(MissingWeights, match=r"cache"):
        build(Holed, {})


def test_quantisations_are_known_by_name(state) -> None:
    with pytest.raises(BadInput, match=r"'int3'.*int8, nf4"):
        build(Net, state, quantize="int3")


@pytest.mark.skipif(HAS_LIBRARY, reason="bitsandbytes is installed")
def test_a_missing_library_is_named_with_its_command(state) -> None:
    with pytest.raises(ModelUnavailable, match=r"bitsandbytes.*pip install"):
        build(Net, state, quantize="nf4")


@pytest.mark.skipif(not HAS_LIBRARY, reason="bitsandbytes is not installed")
@pytest.mark.parametrize(("kind", "most"), [("int8", 0.05), ("nf4", 0.3)])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_quantised_layers_give_nearly_the_same(state, expected, kind, most, dtype) -> None:
    net = build(Net, state, dtype=dtype, quantize=kind)
    assert net.blocks[0].up.weight.element_size() == 1 and net.table.weight.is_floating_point()
    assert (net(IDS).float() - expected).norm() < most * expected.norm()


def test_quantised_layers_are_those_of_blocks() -> None:
    assert [name for name, _ in quantize.in_blocks(Net(2))] == ["blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down"]


# --- several devices


BLOCK = 4 * (2 * WIDTH * WIDTH * 2 + 2 * WIDTH + 2 * WIDTH)


def planned(rooms: dict[int | str, int]) -> spread.Placing:
    net = Net()
    return spread.plan(net, rooms, {key: value.nbytes for key, value in net.state_dict().items() if key != "head.weight"})


def test_blocks_fill_one_device_after_the_other() -> None:
    table = 4 * WORDS * WIDTH
    rooms: dict[int | str, int] = {0: table + BLOCK + 10, 1: 2 * BLOCK + 10, "cpu": 5 * BLOCK}
    placing = planned(rooms)
    assert [str(place) for place in placing.blocks.values()] == ["cuda:0", "cuda:1", "cuda:1", "cpu"] and rooms["cpu"] == 4 * BLOCK
    assert str(placing.of("blocks.2.up.weight")) == "cuda:1" and str(placing.of("table.weight")) == "cuda:0"


def test_what_fits_on_one_device_stays_there_and_what_fits_nowhere_is_refused() -> None:
    assert planned({0: 10**9, 1: 10**9}) == spread.Placing(torch.device("cuda", 0))
    with pytest.raises(ModelUnavailable, match=r"fit nowhere.*nf4"):
        planned({0: 2 * BLOCK, 1: BLOCK})


def test_a_spread_module_gives_the_same(state, expected, monkeypatch) -> None:
    """Two names for the one device there is: the blocks' hooks run, and weights that wait elsewhere are put back."""
    net = build(Net, state)
    blocks = {f"blocks.{number}": torch.device("cpu") for number in range(4)}
    before = [weight.data_ptr() for weight in net.parameters()]
    spread.attach(net, spread.Placing(torch.device("cpu"), blocks))
    assert net(IDS).equal(expected) and [weight.data_ptr() for weight in net.parameters()] == before


def test_inside_over_modules_are_placed_by_room(state, expected) -> None:
    with spread.over({"cpu": 10**9}):
        assert build(Net, state)(IDS).equal(expected)
    with spread.over({"cpu": 1000}), pytest.raises(ModelUnavailable, match=r"fit nowhere"):
        build(Net, state)
