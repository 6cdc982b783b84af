"""The standard streams of a console script, and the exit codes when one of them or the user ends the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO

INTERRUPTED = 130
BROKEN_PIPE = 141
UNWRITABLE = 3


class StdoutError(Exception):
    """A write to stdout failed: the reader closed the pipe, or the disk is full. The command itself did not fail."""

    def __init__(self, error: OSError) -> None:
        """Keep the error of the system call."""
        super().__init__(error.strerror)
        self.error = error


@contextmanager
def map_stdout_errors() -> Iterator[None]:
    """Raise StdoutError in place of the OSError of a failed write."""
    try:
        yield
    except OSError as exc:
        raise StdoutError(exc) from exc


def prepare_streams() -> None:
    """Open /dev/null in place of closed standard streams, and make stdout and stderr accept any text."""
    _reserve_descriptors()
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_to_exit_code(work: Callable[[], int], *, output: str) -> int:
    """Run a program and return its exit code: that of ``work``, or 141, 130 or 3 if a stream or Ctrl-C ended it.

    ``output`` names what the program writes to stdout. The error message for a full disk uses it.
    """
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe
        _redirect_to_null(sys.stdout, sys.stderr)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as exc:
        _redirect_to_null(sys.stdout)
        sys.stderr.write(f"error: cannot write {output}: {exc.strerror}\n")
        return UNWRITABLE
    return code


def _redirect_to_null(*streams: TextIO) -> None:
    """Send the rest of the buffers to /dev/null, so that Python prints no error at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(null, stream.fileno())


def _reserve_descriptors() -> None:
    """Occupy the descriptors 0, 1 and 2 if they are closed. Otherwise the next open file would get one of them."""
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)  # gets the lowest free descriptor, which is this one
            os.set_inheritable(opened, True)  # noqa: FBT003 - positional only
