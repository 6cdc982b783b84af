"""One running program: its three pipes, and how it is ended together with its own children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import IO

_CHUNK = 65536
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ChildProcess:
    """A program in a session of its own: Ctrl-C does not reach it, and its whole process group can be killed."""

    def __init__(self, number: int, arguments: Sequence[str]) -> None:
        """Start the program; ``number`` is its place among all programs. Raises OSError."""
        self.number = number
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - the user names the programs to run
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        out, err = self._process.stdout, self._process.stderr
        self._outputs: dict[int, IO[bytes]] = {pipe.fileno(): pipe for pipe in (out, err) if pipe is not None}
        self._stderr = err.fileno() if err is not None else -1
        self._stdin = self._process.stdin
        if self._stdin is not None:
            os.set_blocking(self._stdin.fileno(), False)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The descriptors of stdout and stderr, without those that the program has closed."""
        return tuple(self._outputs)

    @property
    def stdin(self) -> int | None:
        """The descriptor of stdin, or None after ``close_stdin``."""
        return self._stdin.fileno() if self._stdin is not None else None

    def is_stderr(self, output: int) -> bool:
        """Return whether a descriptor is that of stderr."""
        return output == self._stderr

    def read(self, output: int) -> bytes:
        """Return the next bytes of an output, or nothing when the program has closed it."""
        data = os.read(output, _CHUNK)
        if not data:
            self._outputs.pop(output).close()
        return data

    def write(self, data: memoryview) -> int:
        """Write to stdin without blocking and return the number of bytes taken.

        Raises BrokenPipeError when the program has closed its stdin.
        """
        if self._stdin is None:
            return 0
        try:
            return os.write(self._stdin.fileno(), data)
        except BlockingIOError:
            return 0

    def close_stdin(self) -> None:
        """Close stdin, so that the program reads the end of its input."""
        if self._stdin is not None:
            self._stdin.close()
            self._stdin = None

    def status(self) -> int | None:
        """Return the exit status, negative for a signal, or None while the program runs."""
        return self._process.poll()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def terminate(self) -> None:
        """Send SIGTERM to the process group."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process group, close all pipes and wait for the end."""
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
        self.close_stdin()
        for pipe in self._outputs.values():
            pipe.close()
        self._outputs.clear()
        self._process.wait()

    def _signal(self, number: int) -> None:
        # The id of the group cannot be reused before wait(). macOS refuses signals to a group that has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Run a block before the handlers of SIGINT, SIGTERM and SIGHUP: an exception halfway could lose a started child.

    Ignored signals stay ignored, also in children.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers only in the main thread
        return
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    handlers = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, record)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        for missed in received:
            signal.raise_signal(missed)
