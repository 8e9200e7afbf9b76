"""A small memory of what pictures look like to a model, keyed by their content."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from unimm.document import Image

Result = TypeVar("Result")


class Remembered(Generic[Result]):
    """The latest results of a function of a picture."""

    def __init__(self, size: int, compute: Callable[[Image], Result]) -> None:
        self.size, self.compute = size, compute
        self.known: OrderedDict[str, Result] = OrderedDict()

    def __call__(self, image: Image) -> Result:
        if image.hash not in self.known:
            self.known[image.hash] = self.compute(image)
            while len(self.known) > self.size:
                self.known.popitem(last=False)
        self.known.move_to_end(image.hash)
        return self.known[image.hash]
