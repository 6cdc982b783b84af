"""A thread pool that stops all threads at the first error, and that an interrupt does not wait for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

_Job = TypeVar("_Job")

_STOP_TIMEOUT = 1.0
"""Seconds to wait for the threads after the stop: one may hang in a read from a connection that sends nothing."""


def run_jobs(jobs: Iterable[_Job], work: Callable[[_Job, threading.Event], None], size: int) -> None:
    """Call ``work`` for every job on at most ``size`` threads, and return when all jobs are done.

    The first error of a job is raised; before that the event that every job gets is set, and no further job starts.
    The threads are daemons, so that an interrupted program does not wait for a read that never ends.
    """
    waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    for job in jobs:
        waiting.put(job)
    count = waiting.qsize()

    def run_thread() -> None:
        with suppress(queue.Empty):
            while not stop.is_set():
                done.put(_error_of(work, waiting.get_nowait(), stop))

    threads = [threading.Thread(target=run_thread, daemon=True) for _ in range(min(size, count))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(count):
            error = done.get()
            if error is not None:
                raise error
    finally:
        stop.set()
        end = time.monotonic() + _STOP_TIMEOUT
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def _error_of(work: Callable[[_Job, threading.Event], None], job: _Job, stop: threading.Event) -> BaseException | None:
    try:
        work(job, stop)
    except BaseException as exc:  # noqa: BLE001 - the calling thread raises it
        return exc
    return None
