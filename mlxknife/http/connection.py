"""Connections: uvicorn's, with the limits in time and size that it has not."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mlxknife.http.errors import Failure, Headers, failure
from mlxknife.http.front import Front
from mlxknife.http.refusals import BodyTooLarge, HeadTooLarge, Refusal
from mlxknife.http.visit import AUTHORITY, NEWCOMER

_MAX_PIPELINE = 16
_COST_OF_A_FIELD = 32
_WRAPPING = 8
"""How much a chunk may take beside what is in it, for each of its bytes: the smallest takes five."""
_PHRASES = {
    400: b"Bad Request",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
}


class Connection(HttpToolsProtocol):
    """One client. A head must be whole in time, and an answer must be read."""

    front: ClassVar[Front]
    newcomer: object = None
    """What it is known as to the front until its first request has a place."""
    arrived: float | None = None
    """When it came, by the clock of the loop, where that was before it was made."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Begin without any clock running."""
        super().__init__(*arguments, **named)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_in_body = False
        self._wrapping = 0
        self._is_head_in_packet = False
        self._active: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a client in."""
        super().connection_made(transport)
        self._await_head(self.arrived)

    def data_received(self, data: bytes) -> None:
        """Take what comes; the clock for a head is set by its first byte and by nothing else."""
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        self._is_head_in_packet = not self._is_in_body
        self._wrapping += len(data)
        super().data_received(data)
        self._weigh_wrapping()
        if self._head_timer is not None and not self._is_in_body:  # bodies that were refused already come to their end
            self._head_bytes += len(data)
            if self._head_bytes > self.front.options.max_header_bytes and not self.transport.is_closing():
                self._refuse(HeadTooLarge("The head of the request is too large"))

    def on_url(self, url: bytes) -> None:
        """Count what the address takes."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count what a field takes, in the trailers of a body too."""
        self._count(len(name) + len(value) + _COST_OF_A_FIELD)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request begin."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if len(self.pipeline) >= _MAX_PIPELINE:
            msg = "too many requests in advance"
            raise ValueError(msg)
        self._is_in_body = self._is_head_in_packet = True
        if not self.url.startswith((b"/", b"*")):
            cast("dict[str, Any]", self.scope)[AUTHORITY] = httptools.parse_url(self.url).host
        cast("dict[str, Any]", self.scope)[NEWCOMER] = self.newcomer
        super().on_headers_complete()
        self._head_bytes = 0
        self.flow.resume_reading()  # who asks in advance is listened to: else nobody would hear that they went away

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._wrapping -= len(body) * (1 + _WRAPPING)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect another head."""
        self._is_in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request; in the middle of an answer only the end of the connection can say it."""
        is_large = self._head_bytes > self.front.options.max_header_bytes
        self._end_with(HeadTooLarge("The head of the request is too large") if is_large else Refusal(msg))

    def pause_writing(self) -> None:
        """Set a clock: the client does not read."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.front.options.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, whatever of its last answer was not read."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self._stall_timer = self.loop.call_later(self.front.options.stall_seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that runs, also where others wait behind it."""
        self._stop_clocks()
        self.front.forget(self.newcomer)
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._active is not None and not self._active.response_complete:
            self._active.disconnected = True
            self._active.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - uvicorn's own
        self._active = cycle
        if self.front.is_stopping:
            cycle.keep_alive = False  # nobody closes a connection that is made when all others are closed
        cycle.transport = HeadWithBody(cycle.transport, self.loop)
        super()._start_asgi_task(cycle, app)

    def _await_head(self, since: float | None = None) -> None:
        if self._head_timer is None:
            began = self.loop.time() if since is None else since
            self._head_timer = self.loop.call_at(began + self.front.options.header_seconds, self._give_up)

    def _weigh_wrapping(self) -> None:
        """Refuse a body in chunks that is mostly what its chunks say of themselves: the parser keeps no count."""
        if self._is_head_in_packet or not self._is_in_body:
            self._wrapping = 0
        elif self._wrapping > self.front.options.max_header_bytes and not self.transport.is_closing():
            self._end_with(BodyTooLarge("The chunks of the body take more than what is in them"))

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.front.options.max_header_bytes:
            msg = "too large"
            raise ValueError(msg)  # the parser gives up, and send_400_response says why

    def _stop_clocks(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.abort()

    def _end_with(self, error: Refusal) -> None:
        if self._active is not None and self._active.response_started and not self._active.response_complete:
            self.transport.abort()
        else:
            self._refuse(error)

    def _refuse(self, error: Refusal) -> None:
        request_id = f"req_{uuid.uuid4().hex}"
        self.transport.write(last_words(failure(error, request_id), ((b"x-request-id", request_id.encode()),)))
        self.transport.close()


class HeadWithBody(asyncio.Transport):
    """The transport of one answer: its head goes out together with what follows it at once, in one packet."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Hold nothing yet."""
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self._has_head = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; the first thing, the head, waits for the second or for the next turn of the loop."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(b"".join((head, data)))
        elif self._has_head:
            self._transport.write(data)
        else:
            self._has_head = True
            self._head = bytes(data)
            self._loop.call_soon(self._send_head)

    def close(self) -> None:
        """Close once everything is sent."""
        self._send_head()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether nothing can be sent any more."""
        return self._transport.is_closing()

    def _send_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)


def connections(front: Front) -> type[Connection]:
    """Return the protocol of a server with a front."""

    class Limited(Connection):
        """A connection of one server."""

    Limited.front = front
    return Limited


def last_words(failed: Failure, more: Headers) -> bytes:
    """Return an error as the last answer of a connection."""
    body = failed.body
    fields = (
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *failed.headers,
        *more,
        (b"connection", b"close"),
    )
    head = b"HTTP/1.1 %d %b\r\n" % (failed.status, _PHRASES.get(failed.status, b""))
    return b"".join((head, *(b"%b: %b\r\n" % field for field in fields), b"\r\n", body))
