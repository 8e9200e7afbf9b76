"""Many pieces of work with one model each process: results as they come, in no particular order."""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unimm.errors import ModelUnavailable, UnimmError
from unimm.model import UnifiedModel

Load = Callable[[str], UnifiedModel]
Work = Callable[[UnifiedModel, Any], Any]


def run_all(work: Work, pieces: Sequence[Any], jobs: int, load: Load, name: str, threads: int = 1) -> Iterator[Any]:
    """``work(model, piece)`` for every piece, in ``jobs`` processes of so many ``threads`` each (1 job: in this process).

    Every process loads the model ``name`` for itself. ``work``, ``load`` and the results must be picklable. Closing the
    iterator ends the processes; what a piece raises is raised here.
    """
    jobs = min(jobs, len(pieces))
    if jobs <= 1:
        yield from _here(work, pieces, load, name, threads)
        return
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    shares = [(work, pieces[at::jobs], load, name, threads, results) for at in range(jobs)]
    processes = [context.Process(target=_there, args=share, daemon=True) for share in shares]
    for process in processes:
        process.start()
    try:
        for _ in pieces:
            ok, value = _next(results, processes)
            if not ok:
                raise value
            yield value
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _here(work: Work, pieces: Sequence[Any], load: Load, name: str, threads: int) -> Iterator[Any]:
    if pieces:
        model = _load(load, name, threads)
        for piece in pieces:
            yield work(model, piece)


def _load(load: Load, name: str, threads: int) -> UnifiedModel:
    import torch  # seconds to import, which a caller's --help should not take

    torch.set_num_threads(threads)
    return load(name)


def _there(work: Work, pieces: Sequence[Any], load: Load, name: str, threads: int, results: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    parent = multiprocessing.parent_process()
    try:
        for result in _here(work, pieces, load, name, threads):
            results.put((True, result))
            if parent is not None and not parent.is_alive():
                return
    except UnimmError as error:
        results.put((False, error))
    except Exception as error:  # not every exception can be pickled; its words always can
        results.put((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _next(results: Any, processes: Sequence[Any]) -> tuple[bool, Any]:
    """The next result; raises ``ModelUnavailable`` where a process died without one (memory, most often)."""
    while True:
        dead = any(process.exitcode not in (None, 0) for process in processes)
        try:
            return results.get(timeout=1.0)
        except queue.Empty:
            if dead:
                raise ModelUnavailable("A process ended early, perhaps for want of memory. Try fewer --jobs; --resume goes on.") from None
