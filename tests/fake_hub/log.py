"""The requests that the server received and the bytes that it sent, for tests to read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import attrs

from tests.fake_hub.messages import Request, Site


@attrs.define
class Seen:
    """A request and its response; ``bytes_sent`` grows while it is sent."""

    method: str
    path: str
    """Unquoted, without the query."""
    query: str
    headers: Mapping[str, str]
    """By lower-case name."""
    site: Site
    connection: int
    """A number that requests over one connection share."""
    status: int = 0
    bytes_sent: int = 0
    """Bytes of the body that were given to the operating system, or are being given to it now."""
    length: int = -1
    """Bytes of the whole body; -1 before the response begins."""

    @property
    def finished(self) -> bool:
        """Whether the whole body went out."""
        return self.bytes_sent == self.length

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def authorized(self) -> bool:
        return "authorization" in self.headers


@attrs.define
class Log:
    """Every request since the start or the last reset, in order."""

    _seen: list[Seen] = attrs.field(factory=list)
    _changed: threading.Condition = attrs.field(factory=threading.Condition)

    def open(self, request: Request, connection: int) -> Seen:
        seen = Seen(request.method, request.path, request.raw_query, request.headers, request.site, connection)
        with self._changed:
            self._seen.append(seen)
            self._changed.notify_all()
        return seen

    def begin(self, seen: Seen, status: int, length: int) -> None:
        with self._changed:
            seen.status, seen.length = status, length
            self._changed.notify_all()

    def count(self, seen: Seen, sent: int) -> None:
        with self._changed:
            seen.bytes_sent += sent
            self._changed.notify_all()

    def requests(self, method: str | None, path_part: str) -> list[Seen]:
        with self._changed:
            return [seen for seen in self._seen if method in (None, seen.method) and path_part in seen.path]

    def reset(self) -> None:
        with self._changed:
            self._seen.clear()

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Return whether a condition on the log came true in time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            return self._changed.wait_for(condition, max(0.0, deadline - time.monotonic()))
