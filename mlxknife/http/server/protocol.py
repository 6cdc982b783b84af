"""The protocol of one connection: uvicorn's, with the limits in time and size that uvicorn lacks."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mlxknife.http.core.api import Api
from mlxknife.http.core.context import TARGET_HOST
from mlxknife.http.core.errors import BadRequest, BodyTooLarge, HeadTooLarge, HttpError, TooManyRequests
from mlxknife.http.core.state import ServerState

_VERSIONS = ("1.0", "1.1")
_MAX_PIPELINED = 16
_FIELD_BYTES = 32
"""What a header counts besides its name and value, because each one costs memory."""
_CHUNK_BYTES = 8
"""How many bytes of size lines a chunked body may have for each byte of content; the smallest chunk has five."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. The head of a request must arrive in time, and the client must read its responses in time."""

    def __init__(self, *, state: ServerState, api: Api, max_connections: int, **for_uvicorn: Any) -> None:  # noqa: ANN401
        """Hold the limits; ``api`` writes the errors of requests that have no path."""
        super().__init__(**for_uvicorn)
        self._state = state
        self._api = api
        self._max_connections = max_connections
        self._max_head_bytes = state.options.max_header_bytes
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._field_bytes = self._chunk_bytes = 0
        self._is_in_body = False
        self._has_head_ended = False
        self._cycles: list[RequestResponseCycle] = []
        """The requests whose response is not complete: the running one, then those that are pipelined behind it."""
        self._refusal: HttpError | None = None
        """The error to send after these responses; what the client sends in the meantime is dropped."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Start the deadline of the first head; refuse the connection where too many are open."""
        super().connection_made(transport)
        self._start_head_timer()
        if len(self.connections) > self._max_connections:
            self._refuse(TooManyRequests("Too many connections are open"))

    def data_received(self, data: bytes) -> None:
        """Parse a packet; one that lies wholly inside a head or a body counts towards its limit."""
        if self._refusal is not None:
            return
        if self.cycle is None or self.cycle.response_complete:  # a head begins, or a refused body goes on
            self._start_head_timer()
        was_in_body, self._has_head_ended = self._is_in_body, False
        super().data_received(data)
        if self.transport.is_closing() or self._has_head_ended or was_in_body is not self._is_in_body:
            return
        if was_in_body:
            self._chunk_bytes += len(data)
            if self._chunk_bytes > self._max_head_bytes:
                self._refuse(BodyTooLarge("The body has too many bytes besides the content of its chunks"))
        else:
            self._head_bytes += len(data)
            if self._head_bytes > self._max_head_bytes:
                self._refuse(_head_too_large())

    def on_url(self, url: bytes) -> None:
        """Count the bytes of the target."""
        self._count_field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes of a header or a trailer; refuse a body in a coding that the parser does not decode."""
        self._count_field(len(name) + len(value) + _FIELD_BYTES)
        if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            msg = "the transfer coding is not chunked"
            raise ValueError(msg)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request; the parser also takes the request lines of HTTP/0.9 and HTTP/2.0."""
        self._stop_head_timer()
        if self.parser.get_http_version() not in _VERSIONS:
            msg = "the version of HTTP is not 1.0 or 1.1"
            raise ValueError(msg)
        if len(self.pipeline) >= _MAX_PIPELINED:
            msg = "too many pipelined requests"
            raise ValueError(msg)  # ends in send_400_response, as every error of the parser's callbacks
        self._is_in_body = self._has_head_ended = True
        self._head_bytes = self._field_bytes = self._chunk_bytes = 0
        if not self.url.startswith((b"/", b"*")):
            cast("dict[str, Any]", self.scope)[TARGET_HOST] = httptools.parse_url(self.url).host
        super().on_headers_complete()
        self._cycles = [*self._running_cycles(), self.cycle]
        if self._state.is_stopping:
            self.cycle.keep_alive = False
        self.flow.resume_reading()  # uvicorn pauses it behind a pipelined request, and would not see a disconnect

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._chunk_bytes -= len(body) * (1 + _CHUNK_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect another head."""
        self._is_in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or send the error that waits behind the last one."""
        super().on_response_complete()
        if self._refusal is not None and not self.transport.is_closing():
            self._refuse(self._refusal)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read."""
        self._refuse(_head_too_large() if self._field_bytes > self._max_head_bytes else BadRequest(msg))

    def pause_writing(self) -> None:
        """Start the deadline of a client that does not read."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._state.options.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that deadline."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose last response is still unread would never finish closing."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadlines, and end the running request, which uvicorn does not do for pipelined ones."""
        self._stop_head_timer()
        if self._close_timer is not None:
            self._close_timer.cancel()
        super().connection_lost(exc)
        for cycle in self._running_cycles():
            cycle.disconnected = True
            cycle.message_event.set()

    def _running_cycles(self) -> list[RequestResponseCycle]:
        return [cycle for cycle in self._cycles if not cycle.response_complete]

    def _count_field(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > self._max_head_bytes:
            msg = "the head is too large"
            raise ValueError(msg)

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._state.options.header_seconds, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: HttpError) -> None:
        """Send an error after the responses to earlier requests, and close the connection.

        A response that has begun before the end of its own request can only be broken off.
        """
        earlier = self._running_cycles()
        if earlier and self._is_in_body and earlier.pop().response_started and not earlier:
            self.transport.abort()
            return
        if earlier and earlier[0].response_started and not isinstance(error, BadRequest):
            self.transport.abort()  # a client beyond a limit may send for as long as the response takes
            return
        if earlier:
            self._refusal = error
            return
        request_id = f"req_{uuid.uuid4().hex}"
        response = self._api.error_response(error, request_id)
        headers = (
            *self.server_state.default_headers,
            *response.headers,
            (b"content-length", str(len(response.body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        )
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"".join((STATUS_LINE[response.status], lines, b"\r\n", response.body)))
        self.transport.close()  # it waits for a client that does not read
        self._close_timer = self.loop.call_later(self._state.options.stall_seconds, self.transport.abort)


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge("The request line and the headers are too large")
