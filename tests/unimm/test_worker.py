"""One thread a model: order, isolation, cancelling, errors."""

from __future__ import annotations

import threading

import pytest

from agents.scripted import CAPABILITIES, ScriptedModel
from unimm.document import Document, Text
from unimm.errors import BadInput
from unimm.events import PartDone, TextDelta
from unimm.model import Options, UnifiedModel, write
from unimm.worker import Worker, _End, _Job


def asking(words: str) -> Document:
    return Document().user(Text(words))


def echo(document: Document, want, options):
    return [Text(document.turns[0].parts[0].text)]


class Gated:
    """Says the document's words one at a time, each after a ``go.release()``; notes who computes."""

    name, capabilities = "gated", CAPABILITIES

    def __init__(self) -> None:
        self.go, self.began, self.log, self.threads = threading.Semaphore(0), threading.Semaphore(0), [], set()
        self.closed = threading.Event()

    def stream(self, document, want, options=Options()):
        words = document.turns[0].parts[0].text
        try:
            self.began.release()
            for word in words.split():
                self.go.acquire()
                self.threads.add(threading.get_ident())
                self.log.append(word)
                yield TextDelta(word)
            yield PartDone(Text(words))
        except GeneratorExit:
            self.log.append("closed")
            self.closed.set()
            raise


def test_a_worker_is_a_model() -> None:
    worker = Worker(ScriptedModel(echo, "echo"))
    assert isinstance(worker, UnifiedModel) and worker.name == "echo" and worker.capabilities is CAPABILITIES
    assert write(worker, asking("hello you")) == "hello you"
    worker.close()
    assert write(worker, asking("again")) == "again"
    worker.close()


def test_the_thread_starts_with_the_first_job() -> None:
    before = threading.active_count()
    worker = Worker(ScriptedModel(echo))
    stream = worker.stream(asking("a"), "text")
    assert threading.active_count() == before
    next(stream)
    assert threading.active_count() == before + 1 and all(t.daemon for t in threading.enumerate() if t.name.startswith("model "))
    stream.close()
    worker.close()
    worker.close()
    assert threading.active_count() == before


def test_many_threads_one_owner() -> None:
    model, answers = Gated(), {}
    worker = Worker(model)
    names = [f"{name} {name} {name}" for name in "abcdefgh"]
    threads = [threading.Thread(target=lambda name=name: answers.__setitem__(name, write(worker, asking(name)))) for name in names]
    for thread in threads:
        thread.start()
    for _ in range(3 * len(names)):
        model.go.release()
    for thread in threads:
        thread.join(30)
    assert answers == {name: name for name in names} and len(model.threads) == 1
    runs = [model.log[index : index + 3] for index in range(0, len(model.log), 3)]
    assert all(len(set(run)) == 1 for run in runs)  # one job at a time, never two mixed
    worker.close()


def test_jobs_take_turns_in_order() -> None:
    model = Gated()
    worker = Worker(model)
    first = worker.stream(asking("a a"), "text")
    model.go.release()
    assert next(first) == TextDelta("a")
    done = []
    waiting = []
    for name in "bc":
        thread = threading.Thread(target=lambda name=name: done.append(write(worker, asking(name))))
        thread.start()
        waiting.append(thread)
        while worker.waiting < len(waiting):  # the next one asks only after this one stands in line
            pass
    for _ in range(3):
        model.go.release()
    list(first)
    for thread in waiting:
        thread.join(30)
    assert model.log == ["a", "a", "b", "c"]
    worker.close()


def test_closing_stops_the_job_at_its_next_event() -> None:
    model = Gated()
    worker = Worker(model)
    stream = worker.stream(asking("a b c d"), "text")
    model.go.release()
    assert next(stream) == TextDelta("a")
    stream.close()
    model.go.release()  # the event under way is still computed, then the model is told
    assert model.closed.wait(30) and model.log == ["a", "b", "closed"]
    model.go.release()
    assert write(worker, asking("e")) == "e"
    worker.close()


def test_a_cancelled_job_in_line_is_never_begun() -> None:
    model = Gated()
    worker = Worker(model)
    first = worker.stream(asking("a b"), "text")
    model.go.release()
    next(first)
    dropped = _Job(asking("x"), "text", Options())
    worker._submit(dropped)
    dropped.cancelled.set()
    for _ in range(2):
        model.go.release()
    list(first)
    assert write(worker, asking("c")) == "c"
    assert model.log == ["a", "b", "c"] and dropped.out.get() == _End()
    worker.close()


def test_errors_reach_their_caller_only() -> None:
    def script(document, want, options):
        return [TextDelta("a"), BadInput("No.")] if document.turns[0].parts[0].text == "bad" else [Text("fine")]

    worker = Worker(ScriptedModel(script))
    stream = worker.stream(asking("bad"), "text")
    assert next(stream) == TextDelta("a")
    with pytest.raises(BadInput, match="No"):
        next(stream)
    assert write(worker, asking("good")) == "fine"
    worker.close()


def test_what_was_asked_is_handed_on() -> None:
    model = ScriptedModel(echo)
    worker = Worker(model)
    write(worker, asking("a"), Options(seed=3))
    assert model.calls == [(asking("a"), "text", Options(seed=3))]
    worker.close()
