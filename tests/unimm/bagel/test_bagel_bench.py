import pytest
import torch

from unimm.bagel import bench
from unimm.errors import BadInput
from unimm.timing import Mismatch


def test_races_keep_their_contracts_and_say_their_sizes():
    rows = list(bench.races(repeat=1, size="small"))
    assert len(rows) == 4 and all(row.slow_seconds > 0 and row.fast_seconds > 0 for row in rows)
    assert "16 tokens" in rows[0].what and "equal up to rounding" in rows[0].contract
    assert "relative L2" in rows[-1].contract


def test_a_broken_promise_is_an_error():
    with pytest.raises(Mismatch):
        bench.equal(torch.ones(3), torch.ones(3) * 1.1)
    with pytest.raises(Mismatch):
        bench.measured(torch.ones(3), torch.full((3,), torch.nan))
    with pytest.raises(BadInput, match="no size"):
        next(bench.races(size="enormous"))
