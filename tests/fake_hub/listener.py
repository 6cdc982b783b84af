"""Listens on loopback and writes replies to sockets, faults included."""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from tests.fake_hub.log import Log, Seen
from tests.fake_hub.messages import Reply, Request, Site

HOST = "127.0.0.1"

_PIECE = 256 << 10
_TICKS = 20  # a slow body is sent in so many chunks a second


@attrs.frozen
class Service:
    """The state that the listeners of one Hub share."""

    answer: Callable[[Request], Reply]
    log: Log
    closing: threading.Event
    send_buffer: int | None = None
    ids: Iterator[int] = attrs.field(factory=itertools.count)

    def wait(self, seconds: float) -> None:
        """Wait; closing the Hub ends the wait."""
        if seconds > 0 and self.closing.wait(None if math.isinf(seconds) else seconds):
            raise ConnectionAbortedError


class Listener(ThreadingHTTPServer):
    """One port with a thread for each connection; ``stop`` ends all of them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service, site: Site, port: int) -> None:
        self.service = service
        self.site = site
        self._open: set[socket.socket] = set()
        self._workers: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._loop = threading.Thread(target=self.serve_forever, args=(0.02,), name=f"fake {site}", daemon=True)
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer resolves the host's name, which can take seconds
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        if self._loop.is_alive():
            self.shutdown()
            self._loop.join()
        with self._lock:
            workers = list(self._workers)
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for worker in workers:
            worker.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        if self.service.send_buffer is not None:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.service.send_buffer)
        worker = threading.Thread(target=self._work, args=(request, client_address), daemon=True)
        with self._lock:
            self._open.add(request)
            self._workers.add(worker)
        worker.start()

    def _work(self, connection: socket.socket, client_address: object) -> None:
        try:
            self.process_request_thread(connection, client_address)
        finally:
            with self._lock:
                self._open.discard(connection)
                self._workers.discard(threading.current_thread())

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        if not isinstance(sys.exception(), ConnectionError):  # clients disconnect, and tests kill them
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def setup(self) -> None:
        super().setup()
        self.number = next(self.server.service.ids)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Write nothing to stderr: ``Log`` records the requests."""

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        request = Request(self.command, self.path, headers, body, self.server.site)
        seen = self.server.service.log.open(request, self.number)
        reply = self.server.service.answer(request)
        if not self._transmit(request, reply, seen):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815 - as in the base class

    def _transmit(self, request: Request, reply: Reply, seen: Seen) -> bool:
        """Send a reply; return whether the connection can be reused."""
        service = self.server.service
        service.wait(reply.delay)
        declared = reply.headers.get("Content-Length", str(reply.length))
        has_body = request.method != "HEAD"
        service.log.begin(seen, reply.status, reply.length if has_body else 0)
        self.wfile.write(_head(reply.with_headers(Content_Length=declared)))
        if not has_body:
            return True
        for piece in _pieces(reply, service.send_buffer or _PIECE):
            service.wait(len(piece) / reply.bytes_per_second if reply.bytes_per_second else 0.0)
            self._send(piece, seen)
        if reply.hang_after is not None:
            service.wait(math.inf)
        if reply.reset and not seen.finished:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        return seen.finished and declared == str(reply.length)

    def _send(self, piece: memoryview, seen: Seen) -> None:
        """Send a chunk. It is counted before the client has it, and subtracted again where it could not be sent."""
        log = self.server.service.log
        log.count(seen, len(piece))
        while piece:
            try:
                piece = piece[self.connection.send(piece) :]
            except OSError:
                log.count(seen, -len(piece))
                raise


def _head(reply: Reply) -> bytes:
    phrase = HTTPStatus(reply.status).phrase if reply.status in list(HTTPStatus) else ""
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in reply.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def _pieces(reply: Reply, size: int) -> Iterator[memoryview]:
    """Yield the chunks of a body, with its wrong bytes, up to where it is cut."""
    if reply.bytes_per_second:
        size = max(1, min(size, int(reply.bytes_per_second / _TICKS)))
    ends = [end for end in (reply.length, reply.cut_after, reply.hang_after) if end is not None]
    at, stop = reply.start, reply.start + min(ends)
    for chunk in reply.content.chunks(at, stop):
        sent = _flipped(chunk, [place - at for place in reply.flips if at <= place < at + len(chunk)])
        at += len(chunk)
        for start in range(0, len(sent), size):
            yield sent[start : start + size]


def _flipped(chunk: bytes, places: list[int]) -> memoryview:
    if not places:
        return memoryview(chunk)
    wrong = bytearray(chunk)
    for place in places:
        wrong[place] ^= 0xFF
    return memoryview(wrong)
