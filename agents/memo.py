"""A model that answers a question it was asked before from memory, event by event, and whose clock says what that would have taken."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing

from unimm.document import Document
from unimm.events import ModelEvent
from unimm.model import Options, UnifiedModel, Want, options_type

Heard = tuple[tuple[float, ModelEvent], ...]
"""Every event of an answer with the seconds that the model took to say it."""


class Memo:
    """A ``UnifiedModel`` around another one: several ways of running one problem share the calls they have in common.

    A model is deterministic for a document, a wish and options (the seed among them), so this changes no event. ``clock``
    is the time with the remembered seconds of every answer that was not computed again: an agent that is given it measures
    the same durations as without memory. Answers that were broken off are not kept; the latest ``size`` ones are.
    """

    def __init__(self, model: UnifiedModel, size: int = 256, clock: Callable[[], float] = time.perf_counter) -> None:
        self.model, self.size, self._clock = model, size, clock
        self.name, self.capabilities, self.options_type = model.name, model.capabilities, options_type(model)
        self.asked = self.computed = 0
        self._saved = 0.0
        self._known: OrderedDict[tuple[str, Want, Options], Heard] = OrderedDict()

    def clock(self) -> float:
        """Seconds, as if every answer had been computed."""
        return self._clock() + self._saved

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        """See ``UnifiedModel.stream``."""
        key = (document.hash, want, options)
        self.asked += 1
        if key in self._known:
            self._known.move_to_end(key)
            for seconds, event in self._known[key]:
                self._saved += seconds
                yield event
            return
        self.computed += 1
        heard: list[tuple[float, ModelEvent]] = []
        began = self._clock()
        with closing(self.model.stream(document, want, options)) as events:
            for event in events:
                heard.append((self._clock() - began, event))
                yield event
                began = self._clock()
        self._known[key] = tuple(heard)
        while len(self._known) > self.size:
            self._known.popitem(last=False)
