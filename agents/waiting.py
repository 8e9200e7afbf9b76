"""A model that is still loading, and an agent that waits for it: a page can be up, and take runs, before its model is ready."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.events import Event
from agents.loop import DrawAgent
from agents.settings import Settings
from agents.tasks import Task
from unimm.errors import ModelUnavailable, UnimmError
from unimm.model import UnifiedModel
from unimm.worker import Worker

log = logging.getLogger(__name__)


class Loading:
    """A model that gets ready in a thread of its own, while the page is already up."""

    def __init__(self, load: Callable[[], UnifiedModel]) -> None:
        self._load, self._done = load, threading.Event()
        self._model: UnifiedModel | None = None
        self._error = ""

    def start(self) -> Loading:
        threading.Thread(target=self.run, name="load", daemon=True).start()
        return self

    def run(self) -> None:
        """Load here and now."""
        try:
            self._model = Worker(self._load())
        except (UnimmError, OSError, ImportError) as error:
            log.error("The model could not be loaded: %s", error)
            self._error = f"The embedded model could not be loaded: {error} Recorded runs can still be watched."
        finally:
            self._done.set()

    def wait_done(self) -> None:
        """Return when loading is over, well or ill."""
        self._done.wait()

    @property
    def ready(self) -> bool:
        return self._done.is_set()

    @property
    def error(self) -> str:
        return self._error

    def wait(self, seconds: float) -> UnifiedModel | None:
        """The model, or None where it is not ready within the time; raises ``ModelUnavailable`` where it cannot be had."""
        self._done.wait(seconds)
        if self.ready and self._model is None:
            raise ModelUnavailable(self._error or "The embedded model could not be loaded.")
        return self._model


def loaded(model: UnifiedModel) -> Loading:
    """A model that is there already."""
    loading = Loading(lambda: model)
    loading.run()
    return loading


@dataclass(frozen=True)
class Patient:
    """An agent that waits for its model, so that the wait does not count as time of the run."""

    model: Loading
    task: Task
    settings: Settings

    def events(self, given: Any, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        while (model := self.model.wait(0.2)) is None:
            if stop():
                raise ModelUnavailable("Stopped before the model was ready.")
        yield from DrawAgent(model, self.task, self.settings).events(given, stop)
