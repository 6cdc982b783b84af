"""One program that was started: its three pipes, and how it is ended with everything that it started in turn."""

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
_DEADLY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child:
    """A running program, in a session of its own: a Ctrl-C is not its to hear, and its group can be ended whole."""

    def __init__(self, number: int, words: Sequence[str]) -> None:
        """Start it. Raises OSError."""
        self.number = number
        self._began = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - running what a user names is the job
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        out, err = self._process.stdout, self._process.stderr
        self._outputs: dict[int, IO[bytes]] = {pipe.fileno(): pipe for pipe in (out, err) if pipe is not None}
        self._error = err.fileno() if err is not None else -1
        self._input = self._process.stdin
        if self._input is not None:
            os.set_blocking(self._input.fileno(), False)

    @property
    def outputs(self) -> tuple[int, ...]:
        """What can still be read from it: stdout, stderr."""
        return tuple(self._outputs)

    @property
    def input(self) -> int | None:
        """Where it can still be written to."""
        return self._input.fileno() if self._input is not None else None

    def is_error(self, output: int) -> bool:
        """Tell whether an output is its stderr."""
        return output == self._error

    def read(self, output: int) -> bytes:
        """Return what it wrote; nothing where it closed that output."""
        data = os.read(output, _CHUNK)
        if not data:
            self._outputs.pop(output).close()
        return data

    def write(self, data: memoryview) -> int:
        """Give it as much as it takes, and return how much that was. Raises BrokenPipeError when it takes no more."""
        if self._input is None:
            return 0
        try:
            return os.write(self._input.fileno(), data)
        except BlockingIOError:
            return 0

    def close_input(self) -> None:
        """Tell it that nothing more will come."""
        if self._input is not None:
            self._input.close()
            self._input = None

    def status(self) -> int | None:
        """Return how it ended, the negative of a signal for what was killed; None while it runs."""
        return self._process.poll()

    def seconds(self) -> float:
        """Return for how long it has been there."""
        return time.monotonic() - self._began

    def ask_to_end(self) -> None:
        """Let it and its children know that they are to end."""
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """End it and its children, whatever they say, and close what is open."""
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
        self.close_input()
        for pipe in self._outputs.values():
            pipe.close()
        self._outputs.clear()
        self._process.wait()

    def _signal(self, number: int) -> None:
        # Until it is waited for, the number of its group is nobody else's. A Mac does not let a dead one be signalled.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep back the signals that this process has handlers for: raised midway, they would lose what was just started.

    Signals that are ignored stay so, for what is started as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    heard: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        del frame
        heard.append(number)

    handlers = {number: signal.getsignal(number) for number in _DEADLY}
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, keep)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        for missed in heard:
            signal.raise_signal(missed)
