"""Real servers over fakes, each in a process of its own, and clients that send bytes."""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import attrs

from tests.http.conftest import BODY

_TIMEOUT = 20.0


@attrs.frozen
class Process:
    """A running server."""

    child: subprocess.Popen[str]
    url: str
    logged: IO[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=_TIMEOUT)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.child.send_signal(number)
        return self.child.wait(_TIMEOUT)

    def log(self) -> str:
        """Return the log of a process that has ended."""
        self.logged.seek(0)
        return self.logged.read()

    def metric(self, name: str) -> float:
        """Return the value of a metric."""
        page = self.ask(request("GET", "/metrics"))
        found = re.search(rf"^{re.escape(name)} (\S+)$".encode(), page, re.MULTILINE)
        assert found is not None, page
        return float(found[1])

    def wait_for(self, name: str, value: float) -> None:
        """Wait until a metric has a value."""
        end = time.monotonic() + _TIMEOUT
        while self.metric(name) != value:
            assert time.monotonic() < end, f"{name} did not become {value}"
            time.sleep(0.01)

    def ask(self, data: bytes) -> bytes:
        """Send a request on a new connection; return all that is received, even where not all was sent."""
        with self.connect() as client:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(data)
            return rest(client)

    def resident_kilobytes(self) -> int:
        with open(f"/proc/{self.child.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@contextmanager
def serving(options: dict[str, Any] | None = None, fakes: dict[str, Any] | None = None) -> Iterator[Process]:
    """Run a server, which is killed at the end."""
    words = [repr({"port": 0, **(options or {})}), repr(fakes or {})]
    with (
        tempfile.TemporaryFile("w+") as logged,
        subprocess.Popen(
            [sys.executable, "-m", "tests.http.process", *words],
            stdout=subprocess.PIPE,
            stderr=logged,
            text=True,
        ) as child,
    ):
        try:
            assert child.stdout is not None
            ready, _, _ = select.select([child.stdout], [], [], _TIMEOUT)
            assert ready, "the server did not start"
            yield Process(child, child.stdout.readline().strip(), logged)
        finally:
            child.kill()


def request(method: str, path: str, body: object = None, *, close: bool = True) -> bytes:
    """Return the bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    fields = ["Host: localhost", *(["Connection: close"] if close else [])]
    if body is not None:
        fields += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode() + content


def chat(*, stream: bool = True, close: bool = True) -> bytes:
    """Return the bytes of a chat request."""
    return request("POST", "/v1/chat/completions", {**BODY, "stream": stream}, close=close)


def read_until(client: socket.socket, mark: bytes) -> bytes:
    """Read until a mark."""
    data = b""
    while mark not in data:
        part = client.recv(65536)
        assert part, data
        data += part
    return data


def rest(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    parts = []
    while True:
        try:
            part = client.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)
