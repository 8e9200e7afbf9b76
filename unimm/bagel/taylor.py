"""TaylorSeer: most later steps of the sampler are predicted from earlier ones (fact sheet: bagel, section 9)."""

from __future__ import annotations

import math

from torch import Tensor

FIRST = 5
"""Steps that are computed before any is predicted."""
EVERY = 3
"""After those, every so many steps one is computed."""
ORDER = 6


class StepCache:
    """One branch's state over one picture: finite differences of its last computed rows.

    All layers are skipped on a predicted step, so the last layer's output is all that has to be kept. A step on which the
    branch does not run does not count.
    """

    def __init__(self) -> None:
        self._step, self._computed = 0, 0
        self._differences: list[Tensor] = []

    def due(self) -> bool:
        """Whether the coming step has to be computed."""
        return self._step < FIRST or (self._step - FIRST + 1) % EVERY == 0

    def keep(self, rows: Tensor) -> Tensor:
        """Take in the rows of a computed step; gives them back. Differences grow by an order a computed step, from step 4 on."""
        distance, self._computed = self._step - self._computed, self._step
        new = [rows]
        if self._step >= FIRST - 1:
            for old in self._differences[:ORDER]:
                new.append((new[-1] - old) / distance)
        self._differences = new
        self._step += 1
        return rows

    def predict(self) -> Tensor:
        """The rows of a step that is not computed."""
        ahead = self._step - self._computed
        self._step += 1
        first, *rest = self._differences
        for order, difference in enumerate(rest, 1):
            first = first + difference * (ahead**order / math.factorial(order))
        return first
