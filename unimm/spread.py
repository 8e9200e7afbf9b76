"""One module over several devices, by accelerate: repeated blocks fill the GPUs in turn, and main memory holds the rest.

``with over({0: bytes, 1: bytes, "cpu": bytes}): family.load(...)`` makes every ``weights.build`` inside place its module
so; no family of models has to know. Blocks in main memory are copied to the GPU when their turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unimm.errors import ModelUnavailable

Place = int | str
Rooms = Mapping[Place, int]
"""Free bytes by device, in the order in which they are filled; the first is where inputs are and tables stay."""

RESERVE = 0.85
"""Share of a device's free memory that weights may fill; the rest is for keys, values and activations."""

_ROOMS: ContextVar[dict[Place, int] | None] = ContextVar("rooms", default=None)


@contextmanager
def over(rooms: Rooms | None) -> Iterator[None]:
    """Modules built inside are spread over ``rooms``; None leaves them on one device."""
    token = _ROOMS.set(None if rooms is None else {place: int(RESERVE * size) for place, size in rooms.items()})
    try:
        yield
    finally:
        _ROOMS.reset(token)


@dataclass(frozen=True)
class Placing:
    """Where each block of a module goes; everything else goes ``first``, and so does all of it where there are no blocks."""

    first: torch.device
    blocks: Mapping[str, torch.device] = field(default_factory=dict)

    def of(self, key: str) -> torch.device:
        """Device of one tensor by its name."""
        parts = key.split(".")
        names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((self.blocks[name] for name in names if name in self.blocks), self.first)


def placing(module: nn.Module, device: torch.device | str, size_of: Mapping[str, int]) -> Placing:
    """All of a module on ``device``, or inside ``over`` where there is room for it; ``size_of`` gives bytes by tensor name."""
    left = _ROOMS.get()
    return Placing(torch.device(device)) if left is None else plan(module, left, size_of)


def plan(module: nn.Module, left: dict[Place, int], size_of: Mapping[str, int]) -> Placing:
    """Where the parts of ``module`` go; ``left`` (bytes by device) is drawn down by what they take.

    What fits whole on the first device stays there; otherwise the blocks of lists fill one device after the other, in
    order, and everything else goes first. Raises ``ModelUnavailable`` where it does not fit.
    """
    first, whole = next(iter(left)), sum(size_of.values())
    if whole <= left[first]:
        left[first] -= whole
        return Placing(_device(first))
    sizes = {name: sum(size for key, size in size_of.items() if key.startswith(f"{name}.")) for name in _blocks(module)}
    left[first] -= whole - sum(sizes.values())
    blocks: dict[str, torch.device] = {}
    places, place = iter(left), None
    for name, size in sizes.items():
        while place is None or left[place] < size:
            place = next(places, None)
            if place is None:
                missing = sum(sizes.values()) - sum(sizes[name] for name in blocks)
                raise ModelUnavailable(f"{missing / 1e9:.0f} GB of the model fit nowhere on this machine. Try quantize='nf4'.")
        left[place] -= size
        blocks[name] = _device(place)
    return Placing(_device(first), blocks)


def _blocks(module: nn.Module, name: str = "") -> Iterator[str]:
    """Names of the elements of the outermost lists of blocks, in order."""
    for key, part in module.named_children():
        full = f"{name}.{key}" if name else key
        if isinstance(part, nn.ModuleList):
            yield from (f"{full}.{index}" for index in range(len(part)))
        else:
            yield from _blocks(part, full)


def attach(module: nn.Module, placing: Placing) -> nn.Module:
    """Make every block run where its weights are, or on the first device with a copy of them where they wait in main memory.

    Tensors that go in are taken along and what comes out goes back, so that code around the blocks sees one device.
    """
    if not placing.blocks:
        return module
    from accelerate.hooks import ModelHook, add_hook_to_module

    class Placed(ModelHook):
        def __init__(self, there: torch.device, copied: bool) -> None:
            self.there, self.copied, self.back, self.kept = there, copied, there, []

        def pre_forward(self, block, *args, **kwargs):
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            self.back = given[0].device if given else self.there
            if self.copied:
                self.kept = [(value, value.data) for value in (*block.parameters(), *block.buffers())]
                for value, data in self.kept:
                    value.data = data.to(self.there)
            return _moved(args, self.there), {key: _moved(value, self.there) for key, value in kwargs.items()}

        def post_forward(self, block, output):
            for value, data in self.kept:
                value.data = data
            self.kept = []
            return _moved(output, self.back)

    for name, place in placing.blocks.items():
        copied = place.type == "cpu" and placing.first.type != "cpu"
        add_hook_to_module(module.get_submodule(name), Placed(placing.first if copied else place, copied))
    return module


def _moved(value: Any, there: torch.device) -> Any:
    """Tensors, alone or in tuples, on another device; caches and other objects are their owner's."""
    if isinstance(value, Tensor):
        return value.to(there)
    return tuple(_moved(part, there) for part in value) if type(value) is tuple else value


def _device(place: Place) -> torch.device:
    return torch.device("cuda", place) if isinstance(place, int) else torch.device(place)
