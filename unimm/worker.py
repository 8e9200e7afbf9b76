"""One owner a model: a single thread computes, whoever asks waits for its turn."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from unimm.document import Document
from unimm.events import ModelEvent
from unimm.memory import named
from unimm.model import Options, UnifiedModel, Want, options_type


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


@dataclass(frozen=True)
class _Job:
    document: Document
    want: Want
    options: Options
    # Unbounded: a slow reader must not hold up the model for everybody else.
    out: queue.SimpleQueue[ModelEvent | _End] = field(default_factory=queue.SimpleQueue)
    cancelled: threading.Event = field(default_factory=threading.Event)


class Worker:
    """A loaded model that many threads can call at once; itself a ``UnifiedModel``.

    Every ``stream`` is one job. Jobs run one at a time in the order in which they were asked for, in one thread that
    starts with the first of them, so that a visitor who waits gets a turn after each picture of the others. Closing the
    iterator drops a job that waits and stops one that runs at its next event. What the model raises is raised in the
    caller; running out of memory is a ``ModelUnavailable`` there, and gives the job's memory back.
    """

    def __init__(self, model: UnifiedModel) -> None:
        self.model = model
        self.name = model.name
        self.capabilities = model.capabilities
        self.options_type = options_type(model)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many jobs wait for their turn."""
        return self._jobs.qsize()

    def stream(self, document: Document, want: Want, options: Options = Options()) -> Iterator[ModelEvent]:
        job = _Job(document, want, options)
        self._submit(job)
        try:
            while not isinstance(event := job.out.get(), _End):
                yield event
            if event.error is not None:
                raise event.error
        finally:
            job.cancelled.set()

    def close(self) -> None:
        """End the thread after the jobs that wait; a later call starts a new one."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._jobs.put(None)
        if thread is not None:
            thread.join()

    def _submit(self, job: _Job) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"model {self.name}", daemon=True)
                self._thread.start()
            self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.out.put(_End(self._run(job)))

    def _run(self, job: _Job) -> BaseException | None:
        if job.cancelled.is_set():
            return None
        try:
            with closing(self.model.stream(job.document, job.want, job.options)) as events:
                for event in events:
                    if job.cancelled.is_set():
                        break
                    job.out.put(event)
        except BaseException as error:
            return named(error, self.name)
        return None
