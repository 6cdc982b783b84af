"""One renderer, seen from the side that asks: a process that serves one template and trusts nobody with its own."""

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
"""Seconds after which a renderer ends itself, should nobody be there any more to end it."""
_PATIENCE = 1.0
"""Seconds for a renderer that broke off to be gone by itself, so that its status says why."""


class BrokenRendererError(Exception):
    """It is gone, or says what cannot be right; ``status`` is what its process ended with."""

    def __init__(self, status: int | None) -> None:
        """Take the status."""
        super().__init__(status)
        self.status = status


class SlowRendererError(Exception):
    """It did not answer in time."""


class Renderer:
    """A process that renders; the first job binds it to its template. One thread at a time may ask it."""

    def __init__(self, seconds: float) -> None:
        """Start it, and do not wait for it. Raises OSError."""
        self._seconds = seconds
        self._owner = os.getpid()
        self._is_bound = False
        self.jobs = 0
        """How many it has had."""
        self._connection, self._process = _started(str(seconds + _GRACE))

    @property
    def is_alive(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    def ask(self, template: str, job: str) -> tuple[bool, str]:
        """Return whether the template made a text, and the text or what it refuses.

        Raises BrokenRendererError, SlowRendererError: it is of no use any more then.
        """
        self.jobs += 1
        ends = time.monotonic() + self._seconds
        source, work = b"" if self._is_bound else wire.packed(template), wire.packed(job)
        try:
            self._connection.settimeout(self._seconds)
            self._connection.sendall(wire.JOB.pack(len(source), len(work)) + source + work)
            self._is_bound = True
            kind, length = wire.ANSWER.unpack(self._read(wire.ANSWER.size, ends))
            if kind not in (wire.TEXT, wire.ERROR) or length > wire.MOST_BYTES * (wire.MAX_GROWTH + len(work)):
                raise BrokenRendererError(None)
            return kind == wire.TEXT, wire.unpacked(self._read(length, ends))
        except TimeoutError as exc:
            raise SlowRendererError from exc
        except (OSError, ValueError) as exc:
            raise BrokenRendererError(self._status()) from exc

    def kill(self) -> None:
        """End it while another thread may wait for its answer, which then breaks off."""
        if os.getpid() == self._owner:  # a copy of the process has no right to it
            self._process.kill()

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self._connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self.kill()
        if os.getpid() == self._owner:
            self._process.wait()
        else:
            self._process.returncode = 0  # so that subprocess does not call it forgotten

    def _read(self, size: int, ends: float) -> bytes:
        """Return so many bytes. Raises TimeoutError, OSError, ValueError where fewer come."""
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            count = self._connection.recv_into(rest)
            if not count:
                msg = "It broke off"
                raise ValueError(msg)
            rest = rest[count:]
        return bytes(data)

    def _status(self) -> int | None:
        import subprocess  # noqa: PLC0415 - it is loaded by now

        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return None


def _started(argument: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a process, and return how to talk to it. Raises OSError."""
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
                start_new_session=True,  # Ctrl-C is for the one who asks
            )
        except BaseException:
            ours.close()
            raise
