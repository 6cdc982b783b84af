"""Signals of a console script: Ctrl-C, Ctrl-Z, and SIGTERM and SIGHUP that clean up."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

KILLED = 128
"""What a shell adds to the number of the signal that ended a process."""


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


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether Ctrl-C was pressed. A second Ctrl-C raises KeyboardInterrupt.

    In another thread than the main one, and if SIGINT is ignored or handled otherwise, the function returns False.
    """
    is_interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal is_interrupted
        if is_interrupted:
            signal.default_int_handler(number, frame)
        is_interrupted = True

    if not _can_handle(signal.SIGINT, signal.default_int_handler):
        yield lambda: is_interrupted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: is_interrupted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def immediate_interrupts() -> Iterator[None]:
    """Let the first Ctrl-C raise KeyboardInterrupt in the block, also within ``deferred_interrupts``."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def pause_on_ctrl_z(pause: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Call ``pause`` before Ctrl-Z stops this process, and ``resume`` when it continues."""
    if not _can_handle(signal.SIGTSTP, signal.SIG_DFL):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        pause()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, stop)
        resume()

    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


def _can_handle(number: int, default: object) -> bool:
    """Whether a handler may be set: this is the main thread, and the signal has its default handler."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(number) == default


def exit_on_signals(*numbers: int) -> None:
    """Make signals raise SystemExit, so that the process ends what it started. ``nohup`` stays in force."""
    for number in numbers:
        if _can_handle(number, signal.SIG_DFL):
            signal.signal(number, _exit)


@contextmanager
def default_interrupt_at_exit() -> Iterator[None]:
    """After the block, let Ctrl-C end the process as a signal does: at exit, Python would print a traceback."""
    try:
        yield
    finally:
        if _can_handle(signal.SIGINT, signal.default_int_handler):
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(KILLED + number)
