"""The process that a command line runs in: its streams, the signals that end it, what its environment asks for."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn, TextIO

INTERRUPTED = 130
BROKEN_PIPE = 141
UNWRITABLE = 3

_KILLED = 128
_SELDOM = 100_000
"""How many new objects the garbage collector waits for: more than a command without MLX imports. With Python's own 700
it searches all that was imported again and again."""
_SWITCHED_OFF = ("", "0", "false", "no", "off")


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Spare a process the searches for garbage among what lives until its end, and the last two at the end itself."""
    gc.set_threshold(_SELDOM)
    try:
        yield
    finally:
        gc.freeze()


def prepare_streams() -> None:
    """Make sure that there are streams, and that they take any text."""
    _occupy_numbers()
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - a caller closed it
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finished(work: Callable[[], int], *, what: str) -> int:
    """Do the work of a program and return its exit code, also where nobody reads what it writes, or Ctrl-C ends it.

    ``what`` names what it writes to stdout, for the error of a stdout that takes nothing.
    """
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader went away
        _give_up(sys.stdout, sys.stderr)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as exc:
        _give_up(sys.stdout)
        sys.stderr.write(f"error: {what} cannot be written: {exc.strerror}\n")
        return UNWRITABLE
    return code


def _give_up(*streams: TextIO) -> None:
    """Send what is left in buffers nowhere, so that nothing complains about it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the process as Ctrl-C does, so that it ends what it started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's wish is respected
            signal.signal(number, _end)


def wants_tracebacks() -> bool:
    """Ask the environment, because errors must be reported before and without any settings."""
    value = os.environ.get("MLXK_DEBUG") or os.environ.get("MLXK2_DEBUG") or ""
    return value.lower() not in _SWITCHED_OFF


def _occupy_numbers() -> None:
    """Keep the numbers of closed streams from the files that are opened next; MLX, for one, takes no file 0."""
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            taken = os.open(os.devnull, mode)  # the lowest number that is free: this one
            os.set_inheritable(taken, True)  # noqa: FBT003 - it has no name


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(_KILLED + number)
