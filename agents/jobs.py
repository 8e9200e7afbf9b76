"""Runs that outlive the browser's connection: each in a thread of its own, with an append-only list of events."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.events import Event, Finished
from agents.trace import Trace, fold
from unimm.errors import BadInput, UnimmError
from unimm.events import ImagePreview

log = logging.getLogger(__name__)


class Busy(UnimmError):
    """All places for runs are taken."""


class Agent(Protocol):
    """Anything whose ``events`` are those of a run; ``stop`` is asked between events."""

    def events(self, given: Any, stop: Callable[[], bool] = ...) -> Iterator[Event]: ...


@dataclass
class _Job:
    agent: Agent
    # None stands where a preview was that a later picture has replaced: numbers stay, memory does not grow.
    events: list[Event | None] = field(default_factory=list)
    trace: Trace | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: float | None = None

    def append(self, event: Event) -> None:
        with self.changed:
            if self.events and isinstance(self.events[-1], ImagePreview):
                self.events[-1] = None
            self.events.append(event)
            self.trace = fold([event]) if self.trace is None else self.trace.add(event)
            self.changed.notify_all()

    def news(self, at: int, patience: float | None) -> tuple[list[Event | None], bool]:
        """Waits for events from number ``at`` on, at most ``patience`` seconds; returns them and whether the run is over."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.events) > at or self.ended is not None, patience)
            return self.events[at:], self.ended is not None

    def end(self, now: float) -> None:
        with self.changed:
            self.ended = now
            self.changed.notify_all()


class Jobs:
    """The runs of one server. Whoever knows a run's id, which cannot be guessed, can follow, stop and read it.

    ``limit`` runs may be under way at once; finished ones are forgotten after ``keep_seconds`` or when more than ``keep``
    have finished since.
    """

    def __init__(self, limit: int = 64, keep: int = 64, keep_seconds: float = 3600.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._keep, self._keep_seconds, self._clock = limit, keep, keep_seconds, clock
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()

    def start(self, agent: Agent, given: Any) -> str:
        """Begin a run of ``agent`` on a problem or a branch and return its id; raises ``Busy`` when all places are taken."""
        with self._lock:
            self._forget()
            if sum(job.ended is None for job in self._jobs.values()) >= self._limit:
                raise Busy(f"{self._limit} runs are under way, which is all this machine takes. Try again in a minute.")
            job, job_id = _Job(agent), secrets.token_urlsafe(16)
            self._jobs[job_id] = job
        threading.Thread(target=self._run, args=(job, given), name="run", daemon=True).start()
        return job_id

    def follow(self, job_id: str, since: int = 0, heartbeat: float | None = None) -> Iterator[tuple[int, Event | None]]:
        """The run's events from number ``since`` on, each with its number, as they come; ends when the run has ended.

        After a lost connection call it again with the last number seen plus one. Previews that a later picture has
        replaced are left out. With ``heartbeat`` given, ``(next number, None)`` comes after so many seconds of silence.
        """
        job = self._job(job_id)
        at = max(since, 0)
        while True:
            events, over = job.news(at, heartbeat)
            if not events and not over:
                yield at, None
            for number, event in enumerate(events, at):
                if event is not None:
                    yield number, event
            at += len(events)
            if over:
                return

    def stop(self, job_id: str) -> None:
        """Ask a run to stop; it ends with ``Finished("stopped")`` at its next event."""
        self._job(job_id).stop.set()

    def snapshot(self, job_id: str) -> Trace | None:
        """The run's trace so far; None before its first event."""
        return self._job(job_id).trace

    def agent(self, job_id: str) -> Agent:
        """Who does the run."""
        return self._job(job_id).agent

    def running(self, job_id: str) -> bool:
        """Whether the run is still under way."""
        return self._job(job_id).ended is None

    def __contains__(self, job_id: object) -> bool:
        with self._lock:
            return job_id in self._jobs

    def _job(self, job_id: str) -> _Job:
        with self._lock:
            if job_id not in self._jobs:
                raise BadInput("This run is not here any more. Start a new one, or open its downloaded trace.")
            return self._jobs[job_id]

    def _run(self, job: _Job, given: Any) -> None:
        try:
            for event in job.agent.events(given, stop=job.stop.is_set):
                job.append(event)
        except UnimmError as error:
            self._fail(job, str(error))
        except Exception as error:
            log.exception("A run failed.")
            self._fail(job, f"The run broke off inside the program ({type(error).__name__}). What was drawn so far is kept; try again.")
        finally:
            job.end(self._clock())

    def _fail(self, job: _Job, words: str) -> None:
        if job.trace is not None:
            job.append(Finished("failed", words))
        else:
            with job.changed:
                job.events.append(Finished("failed", words))
                job.changed.notify_all()

    def _forget(self) -> None:
        ended = [(job.ended, job_id) for job_id, job in self._jobs.items() if job.ended is not None]
        for rank, (when, job_id) in enumerate(sorted(ended, key=lambda pair: pair[0])):
            if rank < len(ended) - self._keep or self._clock() - when > self._keep_seconds:
                del self._jobs[job_id]
