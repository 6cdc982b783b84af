"""Signals of a console script: Ctrl-C that no library can swallow, SIGTERM and SIGHUP that clean up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_KILLED = 128


@contextmanager
def propagate_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for a Ctrl-C, at the latest at the end of the block.

    While an extension module is imported, a Ctrl-C becomes an ImportError, and some libraries ignore it. The block
    does nothing if SIGINT is ignored (a background job) or has another handler.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    is_interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as exc:
        if is_interrupted:
            raise KeyboardInterrupt from exc
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_interrupted:
        raise KeyboardInterrupt


def exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, so that the process ends what it started. ``nohup`` stays in force."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(_KILLED + number)
