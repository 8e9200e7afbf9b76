"""A model that is still loading: a page can be up, and take runs, before its model is ready."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from unimm.errors import ModelUnavailable, UnimmError
from unimm.memory import give_back
from unimm.model import UnifiedModel
from unimm.worker import Worker

log = logging.getLogger(__name__)


class Loading:
    """A model that gets ready in a thread of its own, while the page is already up."""

    def __init__(self, load: Callable[[], UnifiedModel], name: str = "The embedded model") -> None:
        self._load, self._done, self.name = load, threading.Event(), name
        self._model: Worker | None = None
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
            self._error = f"{self.name} could not be loaded: {error} Recorded runs can still be watched."
        except Exception as error:  # weights from anywhere: whatever they break on must not leave runs waiting for ever
            log.exception("The model could not be loaded.")
            self._error = f"{self.name} could not be loaded ({type(error).__name__}). Recorded runs can still be watched."
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
            raise ModelUnavailable(self._error or f"{self.name} could not be loaded.")
        return self._model

    def forget(self) -> None:
        """Give the model's memory back."""
        model, self._model = self._model, None
        if model is not None:
            model.close()
            del model
            give_back()


def loaded(model: UnifiedModel) -> Loading:
    """A model that is there already."""
    loading = Loading(lambda: model)
    loading.run()
    return loading
