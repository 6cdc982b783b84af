"""How much the server takes on at once: requests that wait or run, and bytes of request bodies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from starlette.types import Receive

from mlxknife.domain.json_values import ValueLimits
from mlxknife.http.core.errors import (
    BadRequest,
    BodyTimeout,
    BodyTooLarge,
    ClientDisconnected,
    ServerStopping,
    TooManyRequests,
    UnsupportedMediaType,
)
from mlxknife.http.options import Options

BODY_VALUES = ValueLimits(compound=2**16, values=2**19)
"""Token ids are numbers, so there may be many."""
_JSON = re.compile(rb"\s*(application|text)/(json|[a-z0-9.+-]+\+json)\s*(;.*)?", re.IGNORECASE)
_MAX_DIGITS = 18
_JSON_HINT = "Send Content-Type: application/json (curl: -H 'Content-Type: application/json')"


@attrs.define(eq=False)
class Admission:
    """Counts the requests that wait for a model or run on one; those above the limit are refused."""

    limit: int
    on_refusal: Callable[[], None]
    running: int = attrs.field(default=0, init=False)
    is_closed: bool = attrs.field(default=False, init=False)
    """Whether no more requests are admitted, because the server is stopping."""

    @property
    def is_full(self) -> bool:
        """Return whether the next request is refused."""
        return self.running >= self.limit

    def check(self) -> None:
        """Raise TooManyRequests or ServerStopping where a request would not be admitted now."""
        if self.is_closed:
            raise ServerStopping
        if self.is_full:
            self.on_refusal()
            msg = f"{self.limit} requests are waiting or running already"
            raise TooManyRequests(msg, hint="Try again in a moment")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Count a request while the block runs. Raises TooManyRequests or ServerStopping before the block."""
        self.check()
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


@attrs.define(eq=False)
class BodyBudget:
    """The bytes that all request bodies hold together while they are read and prepared."""

    options: Options
    held: int = attrs.field(default=0, init=False)

    @contextmanager
    def body(self) -> Iterator[RequestBody]:
        """Lend the body of one request; its bytes count until it is released or the block ends."""
        body = RequestBody(self)
        try:
            yield body
        finally:
            body.release()


@attrs.define(eq=False)
class RequestBody:
    """The body of one request."""

    budget: BodyBudget
    is_complete: bool = attrs.field(default=False, init=False)
    _content: bytes = attrs.field(default=b"", init=False)
    _held: int = attrs.field(default=0, init=False)

    async def read(self, receive: Receive) -> None:
        """Read it whole. Raises BodyTooLarge, BodyTimeout, TooManyRequests, ClientDisconnected."""
        options = self.budget.options
        try:
            async with asyncio.timeout(options.body_seconds) as deadline:
                self._content = b"".join(await self._parts(receive, deadline))
                self.is_complete = True
        except TimeoutError as exc:
            silence, rate = f"{options.body_seconds:g} seconds", f"{options.body_bytes_per_second:g} bytes per second"
            msg = f"The body did not arrive in time: nothing came for {silence}, or less than {rate}"
            raise BodyTimeout(msg) from exc

    def take(self) -> bytes:
        """Return its content, and keep no reference to it; it counts until ``release``."""
        content, self._content = self._content, b""
        return content

    def release(self) -> None:
        """Count it no more; a second call does nothing."""
        self.budget.held -= self._held
        self._held = 0

    async def _parts(self, receive: Receive, deadline: asyncio.Timeout) -> list[bytes]:
        """Return the parts, moving the deadline with each: no silence may be long, and the rate may not be low."""
        parts: list[bytes] = []
        options, clock = self.budget.options, asyncio.get_running_loop().time
        started = clock()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            part: bytes = message.get("body", b"")
            self._count(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return parts
            earned = started + self._held / options.body_bytes_per_second
            deadline.reschedule(min(clock(), earned) + options.body_seconds)

    def _count(self, size: int) -> None:
        options = self.budget.options
        self._held += size
        self.budget.held += size
        if self._held > options.max_body_bytes:
            raise _too_large(options.max_body_bytes)
        if self.budget.held > max(options.max_pending_bytes, options.max_body_bytes):
            msg = "Too many large requests arrive at the same time"
            raise TooManyRequests(msg)


def check_content_length(length: bytes | None, limit: int) -> None:
    """Raise BodyTooLarge for a Content-Length above the limit, BadRequest for one that is no number."""
    if length is None:
        return
    if not length.isdigit():
        msg = "Content-Length is not a number"
        raise BadRequest(msg)
    if len(length) > _MAX_DIGITS or int(length) > limit:
        raise _too_large(limit)


def check_media_type(media_type: bytes | None, encoding: bytes | None) -> None:
    """Raise UnsupportedMediaType for a Content-Type other than JSON, or a Content-Encoding.

    Web pages can send forms and plain text to any host without a preflight request, so those are refused.
    """
    if media_type is not None and _JSON.fullmatch(media_type) is None:
        msg = "The body must be JSON"
        raise UnsupportedMediaType(msg, hint=_JSON_HINT)
    if encoding not in (None, b"", b"identity"):
        msg = "The body must not be compressed"
        raise UnsupportedMediaType(msg)


def check_values(body: bytes) -> None:
    """Raise BodyTooLarge for JSON with more values than a decoder reads in time."""
    excess = BODY_VALUES.excess(body)
    if excess is not None:
        msg = f"The body has {excess}"
        raise BodyTooLarge(msg, hint="Send several requests")


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the limit of {limit} bytes")
