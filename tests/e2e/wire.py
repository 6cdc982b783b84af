"""Talking HTTP by hand: bytes that no client library would send, and answers as they come over the wire."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import attrs

PATIENCE = 30.0
"""Seconds after which an answer counts as not coming."""


@attrs.frozen
class Reply:
    """One answer of a server."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header; None where it is not there, or stands there twice."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        found = [value.strip().decode("latin-1") for key, _, value in lines if key.decode("latin-1").lower() == name]
        return found[0] if len(found) == 1 else None


@attrs.define
class Line:
    """A connection to a server."""

    port: int
    patience: float = PATIENCE
    _socket: socket.socket | None = None
    _data: bytes = b""

    def send(self, data: bytes) -> None:
        """Send bytes; a server that does not want them any more may say so by its answer."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    @property
    def socket(self) -> socket.socket:
        """The socket, connected when it is first needed."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.patience)
        return self._socket

    def reply(self) -> Reply | None:
        """Return the next answer; None where the server closed the connection before it was whole."""
        while b"\r\n\r\n" not in self._data:
            if not self._more():
                return None
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        status = int(head[9:12])
        answer = Reply(status, head, b"")
        body = self._body(answer)
        return None if body is None else attrs.evolve(answer, body=body)

    def ask(self, data: bytes) -> Reply:
        """Send a request and return its answer, over a new connection where the old one is closed."""
        for _ in range(2):
            self.send(data)
            reply = self.reply()
            if reply is not None:
                if reply.header("connection") == "close":
                    self.close()
                return reply
            self.close()
        msg = f"no answer to {data[:200]!r}"
        raise AssertionError(msg)

    def wait_for(self, mark: bytes) -> None:
        """Wait until a response has a mark."""
        while mark not in self._data:
            assert self._more(), self._data

    def has_data(self) -> bool:
        """Whether the server has sent something that is not read yet."""
        return bool(self._data or select.select([self.socket], [], [], 0)[0])

    def replies(self) -> list[Reply]:
        """Return every answer until the server closes the connection."""
        found: list[Reply] = []
        while (reply := self.reply()) is not None:
            found.append(reply)
        return found

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the server closes the connection, whatever it says before."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.socket.recv(65536):
                    return True
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def finish(self) -> None:
        """Say that nothing more comes, and listen on."""
        with contextlib.suppress(OSError):  # the other side may have hung up already
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._data = None, b""

    def _body(self, reply: Reply) -> bytes | None:
        if reply.header("transfer-encoding") == "chunked":
            return self._chunks()
        length = reply.header("content-length")
        if length is None:
            if reply.status in (204, 304):
                return b""
            while self._more():
                pass
            body, self._data = self._data, b""
            return body
        return self._take(int(length))

    def _chunks(self) -> bytes | None:
        whole = b""
        while True:
            while b"\r\n" not in self._data:
                if not self._more():
                    return None
            size, _, self._data = self._data.partition(b"\r\n")
            chunk = self._take(int(size, 16) + 2)
            if chunk is None:
                return None
            if chunk == b"\r\n":
                return whole
            whole += chunk[:-2]

    def _take(self, size: int) -> bytes | None:
        while len(self._data) < size:
            if not self._more():
                return None
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _more(self) -> bool:
        try:
            part = self.socket.recv(1 << 18)
        except ConnectionResetError:
            return False
        self._data += part
        return bool(part)


@contextmanager
def line(port: int, patience: float = PATIENCE) -> Iterator[Line]:
    """Open a connection for a while."""
    one = Line(port, patience)
    try:
        yield one
    finally:
        one.close()


def post(path: str, body: bytes, *fields: str, host: str = "localhost") -> bytes:
    """Return the bytes of a request with a body of JSON."""
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", *fields]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def get(path: str, *fields: str, host: str = "localhost") -> bytes:
    """Return the bytes of a request without a body."""
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode("latin-1")


def kilobytes(pid: int, what: str = "VmRSS") -> int:
    """Return what a process has in memory; ``VmHWM`` is the most that it ever had."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(row.split()[1]) for row in status if row.startswith(what))


def children(pid: int) -> tuple[int, ...]:
    """Return the processes that a process has started and that live."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as listed:
        return tuple(map(int, listed.read().split()))


@contextmanager
def bounded(pid: int, megabytes: int = 64) -> Iterator[None]:
    """Fail where a process takes so much more memory in the end than before; its greatest moment counts too."""
    before = kilobytes(pid)
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as peaks:
        peaks.write("5")
    yield
    grown = max(kilobytes(pid), kilobytes(pid, "VmHWM")) - before
    assert grown <= megabytes * 1024, f"the memory grew by {grown // 1024} MB"
