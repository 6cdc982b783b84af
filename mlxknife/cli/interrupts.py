"""Ctrl-C, also while libraries work that swallow it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A Ctrl-C, with what the command can tell all the same."""

    def __init__(self, data: object) -> None:
        """Hold the ``data`` of the JSON envelope."""
        super().__init__()
        self.data = data


@contextmanager
def heeded_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for a Ctrl-C, at the latest at the end.

    Extensions turn it into an ImportError while they are loaded, and some code goes on as if nothing had been.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # in the background, or heeded already
        yield
        return
    heard = False

    def heed(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, heed)
    try:
        yield
    except Exception as exc:
        if heard:
            raise KeyboardInterrupt from exc
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if heard:
        raise KeyboardInterrupt
