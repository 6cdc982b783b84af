"""Bodies: JSON, in time, and no larger than they may be; all of them together as well."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from starlette.types import Receive

from mlxknife.http.options import Options
from mlxknife.http.refusals import BodyTooLarge, Full, NotJson, Refusal, TooSlow
from mlxknife.http.visit import Head

_JSON = re.compile(rb"\s*(application|text)/(json|[a-z0-9.+-]+\+json)\s*(;.*)?", re.IGNORECASE)
_LONGEST_NUMBER = 18


class ClientGone(Exception):
    """The client went away before its request was whole; nobody is there to be told anything."""


@attrs.frozen
class BodyGuard:
    """Refuses what cannot become a request by its head alone."""

    limit: int

    @classmethod
    def of(cls, options: Options) -> BodyGuard:
        """Make the guard that some options ask for."""
        return cls(options.max_body_bytes)

    def __call__(self, head: Head) -> None:
        """Raise BodyTooLarge, or Refusal for a length that is none."""
        length = head.one(b"content-length")
        if length is not None and not (length.isdigit() and len(length) <= _LONGEST_NUMBER):
            msg = "Content-Length is not the length of anything"
            raise Refusal(msg) if not length.isdigit() else self._too_large()
        if length is not None and int(length) > self.limit:
            raise self._too_large()

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body may have {self.limit} bytes")


def check_kind(head: Head) -> None:
    """Raise NotJson for a body that is said to be something else.

    Pages can send forms and plain text without asking first: to whatever reads a body, this is asked of every request.
    """
    kind = head.one(b"content-type")
    if kind is not None and _JSON.fullmatch(kind) is None:
        msg = "The body must be JSON"
        raise NotJson(msg, hint="Send Content-Type: application/json (curl: -H 'Content-Type: application/json')")
    if head.one(b"content-encoding") not in (None, b"", b"identity"):
        msg = "The body must not be compressed"
        raise NotJson(msg)


@attrs.define(eq=False)
class Bodies:
    """The bodies that are being read or prepared, and what they take together."""

    options: Options
    held: int = 0

    @contextmanager
    def counted(self) -> Iterator[Account]:
        """Count what one request holds until it has been prepared."""
        account = Account(self)
        try:
            yield account
        finally:
            account.settle()


@attrs.define(eq=False)
class Account:
    """What one request holds."""

    bodies: Bodies
    held: int = 0

    async def read(self, receive: Receive) -> bytes:
        """Return the whole body. Raises BodyTooLarge, TooSlow, Full, ClientGone."""
        try:
            async with asyncio.timeout(self.bodies.options.body_seconds):
                return await self._collected(receive)
        except TimeoutError as exc:
            msg = "The body did not come in time"
            raise TooSlow(msg) from exc

    def settle(self) -> None:
        """Hold nothing any more."""
        self.bodies.held -= self.held
        self.held = 0

    async def _collected(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGone
            part: bytes = message.get("body", b"")
            self._take(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _take(self, size: int) -> None:
        options = self.bodies.options
        self.held += size
        self.bodies.held += size
        if self.held > options.max_body_bytes:
            msg = f"The body may have {options.max_body_bytes} bytes"
            raise BodyTooLarge(msg)
        if self.bodies.held > max(options.max_pending_bytes, options.max_body_bytes):
            msg = "Too many large requests come in at once"
            raise Full(msg)
