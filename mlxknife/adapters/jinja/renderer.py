"""A renderer: a process that serves one template, so that a hostile template cannot reach another one."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from mlxknife.adapters.jinja import wire

if TYPE_CHECKING:
    import socket
    import subprocess

_GRACE = 1.0
"""Seconds after the limit when a renderer ends itself, if this side has not."""
_EXIT_SECONDS = 1.0
"""The wait for the exit status of a renderer that closed its connection."""


class BrokenRendererError(Exception):
    """The process is gone or sent an invalid answer; ``status`` is its exit status."""

    def __init__(self, status: int | None) -> None:
        """Take the status."""
        super().__init__(status)
        self.status = status


class SlowRendererError(Exception):
    """The process did not answer in time."""


class Renderer:
    """A process that renders. The first job binds it to a template. One thread at a time may use it."""

    def __init__(self, seconds: float) -> None:
        """Start the process without waiting for it. Raises OSError."""
        self._seconds = seconds
        self._owner = os.getpid()
        self._is_bound = False
        self.jobs = 0
        """The number of jobs so far."""
        self._connection, self._process = _started(str(seconds + _GRACE))

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def render(self, template: str, job: str) -> tuple[bool, str]:
        """Return whether the template succeeded, and the text or the error.

        Raises BrokenRendererError, SlowRendererError; the renderer must not be used afterwards.
        """
        self.jobs += 1
        ends = time.monotonic() + self._seconds
        source, work = b"" if self._is_bound else wire.packed(template), wire.packed(job)
        try:
            self._connection.settimeout(self._seconds)
            self._connection.sendall(wire.JOB.pack(len(source), len(work)) + source + work)
            self._is_bound = True
            kind, length = wire.ANSWER.unpack(self._read(wire.ANSWER.size, ends))
            if kind not in (wire.TEXT, wire.ERROR) or length > wire.MAX_CHARACTER_BYTES * (wire.MAX_GROWTH + len(work)):
                raise BrokenRendererError(None)
            return kind == wire.TEXT, wire.unpacked(self._read(length, ends))
        except TimeoutError as exc:
            raise SlowRendererError from exc
        except (OSError, ValueError) as exc:
            raise BrokenRendererError(self._status()) from exc

    def kill(self) -> None:
        """Kill the process, from any thread; a running job fails."""
        if os.getpid() == self._owner:  # a forked copy of this process must not
            self._process.kill()

    def close(self) -> None:
        """Kill the process and wait until it is gone."""
        self._connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self.kill()
        if os.getpid() == self._owner:
            self._process.wait()
        else:
            self._process.returncode = 0  # so that subprocess does not warn

    def _read(self, size: int, ends: float) -> bytes:
        """Return that many bytes. Raises TimeoutError, OSError; ValueError if fewer arrive."""
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            count = self._connection.recv_into(rest)
            if not count:
                msg = "the connection was closed"
                raise ValueError(msg)
            rest = rest[count:]
        return bytes(data)

    def _status(self) -> int | None:
        import subprocess  # noqa: PLC0415 - it is loaded by now

        try:
            return self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None


def _started(argument: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a process; return the socket to it and the process. Raises OSError.

    It stays in the process group of this process, so that a SIGKILL for the group ends both, even if they are stopped.
    """
    import socket  # noqa: PLC0415 - most commands render nothing
    import subprocess  # noqa: PLC0415

    ours, other = socket.socketpair()
    with other:
        try:
            return ours, subprocess.Popen(  # noqa: S603 - our own module, and a number
                [sys.executable, "-P", "-m", "mlxknife.adapters.jinja.child", argument],
                bufsize=0,
                stdin=subprocess.PIPE,  # nothing is written: it closes when this process ends
                stdout=other.fileno(),
                stderr=subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            raise
