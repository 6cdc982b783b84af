"""Several workers on one list of jobs, who all stop when one of them fails or the boss is called away."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

_Job = TypeVar("_Job")

_LAST_WORDS = 1.0
"""How long to wait for all workers that were told to stop: one may hang on a connection that has gone quiet."""


def work_together(jobs: Iterable[_Job], work: Callable[[_Job, threading.Event], None], size: int) -> None:
    """Do the work of every job, several at a time; raise the first error, having told the others to stop.

    The workers are daemons: a program that is interrupted need not wait for a read that never ends.
    """
    waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    for job in jobs:
        waiting.put(job)
    count = waiting.qsize()

    def worker() -> None:
        with suppress(queue.Empty):
            while not stop.is_set():
                done.put(_error_of(work, waiting.get_nowait(), stop))

    crew = [threading.Thread(target=worker, daemon=True) for _ in range(min(size, count))]
    for thread in crew:
        thread.start()
    try:
        for _ in range(count):
            error = done.get()
            if error is not None:
                raise error
    finally:
        stop.set()
        end = time.monotonic() + _LAST_WORDS
        for thread in crew:
            thread.join(max(0.0, end - time.monotonic()))


def _error_of(work: Callable[[_Job, threading.Event], None], job: _Job, stop: threading.Event) -> BaseException | None:
    try:
        work(job, stop)
    except BaseException as exc:  # noqa: BLE001 - it is raised where the work was asked for
        return exc
    return None
