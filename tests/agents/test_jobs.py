"""Runs that outlive a connection. The agents here are gates: they go on when the test lets them."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from agents.events import Finished, RunStarted
from agents.jobs import Busy, Jobs
from agents.loop import DrawAgent
from agents.scripted import maze_model
from agents.tasks import TASKS
from agents.trace import fold
from unimm.document import Image
from unimm.errors import BadInput, MissingWeights
from unimm.events import ImagePreview, TextDelta

PIXEL = Image(1, 1, bytes(3))
STARTED = RunStarted("maze", {}, "gate", {}, PIXEL)


class Gate:
    """An agent that says ``items`` one at a time, each after a ``go.release()``."""

    def __init__(self, *items) -> None:
        self.items, self.go = items, threading.Semaphore(0)

    def events(self, given, stop=lambda: False):
        for item in (STARTED, *self.items):
            self.go.acquire()
            if stop():
                yield Finished("stopped")
                return
            if isinstance(item, Exception):
                raise item
            yield item


def release(gate: Gate, times: int) -> None:
    for _ in range(times):
        gate.go.release()


def texts(pairs) -> list[str]:
    return [event.text for _, event in pairs if isinstance(event, TextDelta)]


def test_followers_see_all_events_in_order_and_reattach() -> None:
    jobs, gate = Jobs(), Gate(*(TextDelta(str(i)) for i in range(6)), Finished("satisfied"))
    job = jobs.start(gate, None)
    release(gate, 4)
    first = list(islice(jobs.follow(job), 4))  # then the connection is lost
    assert [number for number, _ in first] == [0, 1, 2, 3] and jobs.running(job)
    release(gate, 4)
    rest = list(jobs.follow(job, first[-1][0] + 1))
    assert texts(first) + texts(rest) == list("012345") and isinstance(rest[-1][1], Finished)
    assert list(jobs.follow(job)) == first + rest and list(jobs.follow(job, 99)) == []
    assert not jobs.running(job) and jobs.snapshot(job) == fold(event for _, event in first + rest)


def test_many_followers_of_one_run() -> None:
    jobs, gate = Jobs(), Gate(*(TextDelta(str(i)) for i in range(5)), Finished("satisfied"))
    job, seen = jobs.start(gate, None), {}
    threads = [threading.Thread(target=lambda name=name: seen.__setitem__(name, list(jobs.follow(job)))) for name in range(8)]
    for thread in threads:
        thread.start()
    release(gate, 7)
    for thread in threads:
        thread.join(30)
    assert len(seen) == 8 and all(events == seen[0] for events in seen.values()) and texts(seen[0]) == list("01234")


def test_stop_ends_the_run() -> None:
    jobs, gate = Jobs(), Gate(TextDelta("a"), TextDelta("b"))
    job = jobs.start(gate, None)
    release(gate, 1)
    assert next(jobs.follow(job))[1] == STARTED
    jobs.stop(job)
    release(gate, 1)
    assert list(jobs.follow(job))[-1][1] == Finished("stopped") and jobs.snapshot(job).reason == "stopped"


def test_replaced_previews_are_dropped_and_numbers_stay() -> None:
    previews = [ImagePreview(PIXEL, i, 9) for i in range(3)]
    jobs, gate = Jobs(), Gate(TextDelta("a"), *previews, TextDelta("b"), Finished("satisfied"))
    job = jobs.start(gate, None)
    release(gate, 7)
    list(jobs.follow(job))
    assert [number for number, _ in jobs.follow(job)] == [0, 1, 5, 6]
    live = Gate(*previews)
    job = jobs.start(live, None)
    follower = jobs.follow(job)
    release(live, 2)
    assert [next(follower)[1], next(follower)[1]] == [STARTED, previews[0]]


def test_heartbeat_tells_a_silent_run_from_a_dead_one() -> None:
    jobs, gate = Jobs(), Gate(Finished("satisfied"))
    job = jobs.start(gate, None)
    follower = jobs.follow(job, heartbeat=0.001)
    assert next(follower) == (0, None)
    release(gate, 2)
    assert [event for _, event in follower if event is not None] == [STARTED, Finished("satisfied")]


def test_errors_end_a_run_with_their_words() -> None:
    jobs = Jobs()
    for error, words in ((MissingWeights("Train them."), "Train them."), (ZeroDivisionError("secret"), "ZeroDivisionError")):
        gate = Gate(error)
        job = jobs.start(gate, None)
        release(gate, 2)
        last = list(jobs.follow(job))[-1][1]
        assert last.reason == "failed" and words in last.words and "secret" not in last.words
        assert jobs.snapshot(job).reason == "failed"


def test_an_error_before_the_first_event() -> None:
    class Broken:
        def events(self, given, stop):
            raise BadInput("No such problem.")
            yield

    jobs = Jobs()
    job = jobs.start(Broken(), None)
    assert [event for _, event in jobs.follow(job)] == [Finished("failed", "No such problem.")] and jobs.snapshot(job) is None


def test_places_are_limited_and_given_back() -> None:
    jobs, gates = Jobs(limit=2), [Gate(Finished("satisfied")) for _ in range(3)]
    running = [jobs.start(gate, None) for gate in gates[:2]]
    with pytest.raises(Busy, match="2 runs"):
        jobs.start(gates[2], None)
    release(gates[0], 2)
    list(jobs.follow(running[0]))
    last = jobs.start(gates[2], None)
    assert last in jobs and len({*running, last}) == 3 and all(len(job) > 20 for job in (*running, last))


def test_old_runs_are_forgotten() -> None:
    now = [0.0]
    jobs = Jobs(keep=2, keep_seconds=100, clock=lambda: now[0])

    def finished() -> str:
        gate = Gate(Finished("satisfied"))
        job = jobs.start(gate, None)
        release(gate, 2)
        list(jobs.follow(job))
        return job

    first, second, third = finished(), finished(), finished()
    fourth = finished()
    assert first not in jobs and {second, third, fourth} - {job for job in (second, third, fourth) if job in jobs} == set()
    now[0] = 200.0
    fifth = finished()
    assert fifth in jobs and not any(job in jobs for job in (second, third, fourth))
    for call in (jobs.stop, jobs.snapshot, jobs.running, lambda job: list(jobs.follow(job))):
        with pytest.raises(BadInput, match="not here"):
            call(first)


def test_a_real_run_in_a_job() -> None:
    task = TASKS["maze"]
    agent, jobs = DrawAgent(maze_model(), task), Jobs()
    problems = [task.problem("test", index, 4) for index in range(4)]
    running = [jobs.start(agent, problem) for problem in problems]
    for job, problem in zip(running, problems, strict=True):
        list(jobs.follow(job))
        assert jobs.snapshot(job).fingerprint == agent.invoke(problem).fingerprint
