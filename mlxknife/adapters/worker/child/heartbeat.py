"""The heartbeat of a model process: it reports that the process is alive, and ends a process that should not be."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def ignore_terminal_signals() -> None:
    """Leave Ctrl-C to the parent, and end on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def exit_if_orphaned(parent: int) -> None:
    """End this process if its parent is gone."""
    if os.getppid() != parent:
        os._exit(1)


class Deadline:
    """Limits how long work in threads may take. A thread cannot be stopped, so an overrun ends the process."""

    def __init__(self, what: str, seconds: float) -> None:
        """Take the name of the work for the error, and its limit."""
        self._what = what
        self._seconds = seconds
        self._started: dict[int, float] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Limit the time in this block."""
        thread = threading.get_ident()
        self._started[thread] = time.monotonic()
        try:
            yield
        finally:
            del self._started[thread]

    def exit_if_overrun(self) -> None:
        """End this process if some work takes too long."""
        oldest = min(list(self._started.values()), default=None)
        if oldest is not None and time.monotonic() - oldest > self._seconds:
            sys.stderr.write(f"{self._what} took longer than {self._seconds:g} seconds\n")
            sys.stderr.flush()
            os._exit(1)


class HeartbeatThread(threading.Thread):
    """Sends heartbeats as long as Python runs at all, whatever the other threads do."""

    def __init__(self, beat: Callable[[], None], seconds: float, parent: int, deadline: Deadline) -> None:
        """Take what sends a heartbeat and may raise OSError, the pause between two, and what ends the process."""
        super().__init__(name="heartbeat", daemon=True)
        self._beat = beat
        self._seconds = seconds
        self._parent = parent
        self._deadline = deadline
        self._stopped = threading.Event()

    def run(self) -> None:
        """Send heartbeats until the parent is gone."""
        while not self._stopped.wait(self._seconds):
            exit_if_orphaned(self._parent)
            self._deadline.exit_if_overrun()
            try:
                self._beat()
            except OSError:
                os._exit(1)

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
