"""The standard streams of a console script, and the exit codes when one of them or the user ends the program."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import BufferedWriter, RawIOBase, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

INTERRUPTED = 130
BROKEN_PIPE = 141
FAILED = 1
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


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what the block prints, its child processes included. Raises StdoutError."""
    with map_stdout_errors():
        sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class _Sink(RawIOBase):
    """Stands for a stdout that was closed before the program started. It takes all bytes, and keeps none."""

    is_used = False
    """Whether there was something to print."""

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        self.is_used = True
        return memoryview(data).nbytes

    def fileno(self) -> int:
        """Return the descriptor of stdout, behind which is /dev/null."""
        return 1


class ClosedStdout(TextIOWrapper):
    """A text stream to a closed stdout."""

    def __init__(self) -> None:
        """Open it."""
        self._sink = _Sink()
        super().__init__(BufferedWriter(self._sink), encoding="utf-8")

    def check(self) -> None:
        """Raise OSError if there was something to print."""
        self.flush()
        if self._sink.is_used:
            raise OSError(errno.EBADF, "stdout is closed")


def prepare_streams() -> None:
    """Open /dev/null in place of closed standard streams, and make stdout and stderr accept any text."""
    _reserve_descriptors()
    sys.stdout = sys.stdout or ClosedStdout()
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_to_exit_code(work: Callable[[], int], *, output: str) -> int:
    """Run a program and return its exit code: that of ``work``, or 141, 130 or 3 if a stream or Ctrl-C ended it.

    ``output`` names what the program writes to stdout. The error message for a full disk uses it. A closed stdout
    fails after the work is done, so that a server or ``--out`` does not suffer from it.
    """
    try:
        code = _code_of(work)
        sys.stdout.flush()
        if not code and isinstance(sys.stdout, ClosedStdout):
            sys.stdout.check()
    except BrokenPipeError:  # the reader closed the pipe
        _redirect_to_null(sys.stdout, sys.stderr)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (MemoryError, ImportError, SystemError) as exc:  # what Python raises when too little memory is left
        sys.stderr.write(f"error: {str(exc) or 'out of memory'}\n")
        return FAILED
    except OSError as exc:
        _redirect_to_null(sys.stdout)
        sys.stderr.write(f"error: cannot write {output}: {exc.strerror}\n")
        return UNWRITABLE
    return code


def _code_of(work: Callable[[], int]) -> int:
    try:
        return work()
    except SystemExit as exc:  # --help has printed the help, or a signal ends the program
        return exc.code if isinstance(exc.code, int) else 0


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
