"""Two decoders behind one model: both in memory where they fit, else the one that is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch

from unimm.emu3.language import Language

Side = Literal["chat", "gen"]


class Pair:
    """Chat and Gen. ``get`` gives one that is ready to run.

    ``makers`` load a decoder; one maker for both sides is one decoder. With ``hold`` nothing is ever put away. Without it
    one decoder at a time is on ``device``: where ``parks``, the other waits in host memory, else it is loaded anew.
    """

    def __init__(
        self, makers: Mapping[Side, Callable[[], Language]], device: str | torch.device = "cpu", hold: bool = True, parks: bool = False
    ) -> None:
        self.makers, self.device, self.hold, self.parks = dict(makers), torch.device(device), hold, parks
        self._made: dict[Callable[[], Language], Language] = {}
        self._awake: Callable[[], Language] | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(self.makers)

    def get(self, side: Side) -> Language:
        """The decoder of a side, loaded and on the device; the other one makes room where both do not fit."""
        maker = self.makers[side]
        if not self.hold and self._awake is not maker:
            self._put_away()
        if maker not in self._made:
            self._made[maker] = maker()
            if self.parks and not self.hold:
                self._made[maker].awake = partial(self._wake, maker)
        self._wake(maker)
        return self._made[maker]

    def _wake(self, maker: Callable[[], Language]) -> None:
        if self._awake is maker:
            return
        if not self.hold:
            self._put_away()
            self._made[maker].net.to(self.device)
        self._awake = maker

    def _put_away(self) -> None:
        """Give the memory of the decoder that is awake back; what it remembered is computed anew when it returns."""
        away, self._awake = self._awake, None
        if away is None or away not in self._made:
            return
        self._made[away].forget()
        if self.parks:
            self._made[away].net.to("cpu")
        else:
            del self._made[away]
