"""The models that a page offers: the embedded one, and the others, each loaded when a run first asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agents.events import Event
from agents.settings import Settings
from agents.tasks import TASKS, Task
from agents.waiting import Loading
from agents.ways import WAYS
from unimm.errors import BadInput, ModelUnavailable
from unimm.memory import PRECISIONS
from unimm.model import Capabilities, UnifiedModel, can_do
from unimm.models import MODELS, ModelRow, why_not


def load(name: str) -> UnifiedModel:
    """Any model by name; imports the weights' library only now."""
    import unimm

    return unimm.load(name)


class Shelf:
    """One owner a loaded model; beside the embedded one, which is always there, at most ``limit`` others.

    A further one takes the place of one that no run is using. ``rows`` are the models to offer (the first is the embedded
    one), ``why_not`` says what keeps one from running here, "" for nothing.
    """

    def __init__(
        self, embedded: Loading, rows: Mapping[str, ModelRow] = MODELS, why_not: Callable[[str], str] = why_not,
        load: Callable[[str], UnifiedModel] = load, limit: int = 1,
    ) -> None:  # fmt: skip
        self.embedded, self.rows, self.limit = next(iter(rows)), rows, limit
        self._why_not, self._load = why_not, load
        self._models: dict[str, Loading] = {self.embedded: embedded}
        self._users: dict[str, int] = {}
        self._lock = threading.Lock()

    def offer(self) -> list[dict[str, Any]]:
        """All models as plain data: what they can do, whether they can run here, and why not."""
        return [self._row(row) for row in self.rows.values()]

    def _row(self, row: ModelRow) -> dict[str, Any]:
        can = row.capabilities
        reason = self._models[row.name].error if row.name == self.embedded else self._why_not(row.name)
        words, _, command = reason.partition("; run: ")
        return {
            "name": row.name, "embedded": row.name == self.embedded, "available": not reason, "reason": words, "command": command,
            "edit": can.edit, "taught": list(can.taught), "plain": can.plain, "licence": can.licence,
            "memory_gb": {kind: can.memory_gb[kind] for kind in PRECISIONS if kind in can.memory_gb},
        }  # fmt: skip

    def tasks(self) -> tuple[str, ...]:
        """The tasks that a model which can run here was taught or can be asked about in plain language; the embedded one's first."""
        able = [row.capabilities for row in self.rows.values() if row.name == self.embedded or not self._why_not(row.name)]
        return tuple(name for name in TASKS if any(can_do(can, name) for can in able))

    def capabilities(self, name: str) -> Capabilities:
        """What a model can do; of one that is not loaded, what the table says."""
        loading = self._models.get(name)
        if loading is not None and loading.ready and not loading.error and (model := loading.wait(0)) is not None:
            return model.capabilities
        return self.rows[name].capabilities

    def usual(self, task: str) -> str:
        """Which model runs where none is chosen: the first that is here and was taught the task, else the embedded one."""
        here = (row.name for row in self.rows.values() if row.name == self.embedded or not self._why_not(row.name))
        return next((name for name in here if task in self.capabilities(name).taught), self.embedded)

    def check(self, name: str, task: str = "") -> str:
        """The name of a model that a run of a task may use ("" is the usual one); raises ``BadInput`` or ``ModelUnavailable``."""
        name = name or self.usual(task)
        if name not in self.rows:
            raise BadInput(f"There is no model {name[:60]!r}. Choose one of: {', '.join(self.rows)}.")
        if name != self.embedded and (reason := self._why_not(name)):
            raise ModelUnavailable(f"{name} is not available here: {reason}.")
        return name

    def ready(self, name: str) -> bool:
        """Whether a run of this model would begin at once."""
        loading = self._models.get(name)
        return loading is not None and loading.ready

    @contextmanager
    def using(self, name: str) -> Iterator[Loading]:
        """A model for the time of a run; it begins to load if it is not there. Raises ``ModelUnavailable`` where it has no place."""
        with self._lock:
            if name not in self._models:
                self._make_room()
                self._models[name] = Loading(lambda: self._load(name), name).start()
            self._users[name] = self._users.get(name, 0) + 1
            loading = self._models[name]
        try:
            yield loading
        finally:
            with self._lock:
                self._users[name] -= 1
                if loading.error and name != self.embedded and self._models.get(name) is loading:
                    del self._models[name]  # the next run tries again

    def _make_room(self) -> None:
        others = [name for name in self._models if name != self.embedded]
        for name in others[: max(len(others) - self.limit + 1, 0)]:
            if self._users.get(name):
                raise ModelUnavailable(f"{name} is in use, and one such model is held at a time. Try again when its runs are over.")
            self._models.pop(name).forget()


@dataclass(frozen=True)
class Patient:
    """An agent that waits for its model, so that the wait does not count as time of the run."""

    shelf: Shelf
    name: str
    task: Task
    settings: Settings
    way: str = "draw"

    def events(self, given: Any, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        with self.shelf.using(self.name) as loading:
            while (model := loading.wait(0.2)) is None:
                if stop():
                    raise ModelUnavailable("Stopped before the model was ready.")
            yield from WAYS[self.way](model, self.task, self.settings).events(given, stop)
