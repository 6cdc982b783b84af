"""How a model's process hangs on the one that started it: it gives signs of life, and never outlives it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def settle(parent: int) -> None:
    """Leave Ctrl-C to the parent, end with a SIGTERM, and on Linux with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    leave_an_orphan(parent)


def leave_an_orphan(parent: int) -> None:
    """End this process where the parent is gone."""
    if os.getppid() != parent:
        os._exit(1)


class Heart(threading.Thread):
    """A thread that gives signs of life, whatever the others do, as long as Python runs at all."""

    def __init__(self, beat: Callable[[], None], pause: float, parent: int) -> None:
        """Take what gives a sign of life and may raise OSError where nobody listens, and the pause between two."""
        super().__init__(name="heart", daemon=True)
        self._beat = beat
        self._pause = pause
        self._parent = parent
        self._stopped = threading.Event()

    def run(self) -> None:
        """Beat until nobody listens."""
        while not self._stopped.wait(self._pause):
            leave_an_orphan(self._parent)
            try:
                self._beat()
            except OSError:
                os._exit(1)

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()
