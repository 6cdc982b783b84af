"""Faults of responses. A fault returns a changed reply, or None where it does not apply to this reply."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Protocol

import attrs

from tests.fake_hub.contents import Bytes
from tests.fake_hub.messages import Json, Reply, Request, Site, refusal


class Fault(Protocol):
    """A fault; ``apply`` returns None for a reply that it does not apply to."""

    def apply(self, request: Request, reply: Reply) -> Reply | None: ...


def _has_body(request: Request, reply: Reply) -> bool:
    return request.method != "HEAD" and reply.status in (200, 206)


# --- faults of a body; they do not apply to redirects, errors and HEAD


@attrs.frozen
class Cut:
    """The connection ends after so many bytes of this body."""

    after: int
    reset: bool = False

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        return attrs.evolve(reply, cut_after=self.after, reset=self.reset) if _has_body(request, reply) else None


@attrs.frozen
class Flip:
    """One byte of the file is wrong (a negative position counts from the end); the length is right."""

    at: int

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        place = self.at if self.at >= 0 else reply.content.size + self.at
        if not _has_body(request, reply) or not reply.start <= place < reply.stop:
            return None
        return attrs.evolve(reply, flips=(*reply.flips, place))


@attrs.frozen
class WrongLength:
    """``Content-Length`` is larger (or smaller, where negative) than the body."""

    by: int

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        wrong = reply.with_headers(Content_Length=str(max(0, reply.length + self.by)))
        return wrong if _has_body(request, reply) else None


@attrs.frozen
class Slow:
    """The body is sent at this rate."""

    bytes_per_second: float

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        return attrs.evolve(reply, bytes_per_second=self.bytes_per_second) if _has_body(request, reply) else None


@attrs.frozen
class Stall:
    """After so many bytes of the body nothing more is sent until the Hub closes."""

    after: int

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        return attrs.evolve(reply, hang_after=self.after) if _has_body(request, reply) else None


@attrs.frozen
class IgnoreRange:
    """A request for a part is answered with the whole file."""

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        headers = {
            name: value for name, value in reply.headers.items() if name not in ("Content-Range", "Accept-Ranges")
        }
        partial = _has_body(request, reply) and reply.status == 206
        return attrs.evolve(reply, status=200, span=None, headers=headers) if partial else None


@attrs.frozen
class Gzip:
    """The body is compressed, as the Hub does with text for clients that accept it."""

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        if not _has_body(request, reply) or "gzip" not in request.headers.get("accept-encoding", ""):
            return None
        whole = b"".join(reply.content.chunks(0, reply.content.size))
        headers = {name: value for name, value in reply.headers.items() if name != "Content-Range"}
        compressed = Reply(200, headers, Bytes(gzip.compress(whole)))
        return compressed.with_headers(Content_Encoding="gzip", ETag="W/" + headers.get("ETag", '""'))


# --- faults of any response


@attrs.frozen
class Status:
    """An error instead of the response."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    code: str | None = None
    message: str = "The fake Hub fails on purpose"

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        error = refusal(self.status, self.code, self.message)
        error = attrs.evolve(error, headers={**error.headers, **self.headers}, replaced=True)
        return None if reply.replaced else error


def rate_limited(retry_after: int = 0) -> Status:
    headers = {"Retry-After": str(retry_after), "RateLimit": f'"api";r=0;t={retry_after}'}
    return Status(429, headers, message="You have been rate limited")


@attrs.frozen
class Delay:
    """Nothing is sent for a while, not even headers."""

    seconds: float

    def apply(self, _request: Request, reply: Reply) -> Reply:
        return attrs.evolve(reply, delay=self.seconds)


def hang() -> Delay:
    """Return the fault that no response is ever sent."""
    return Delay(float("inf"))


@attrs.frozen
class Headers:
    """Changed headers; None removes one."""

    changes: Mapping[str, str | None]

    def apply(self, _request: Request, reply: Reply) -> Reply:
        given = {name.lower() for name in self.changes}
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in given}
        return attrs.evolve(
            reply, headers=kept | {name: value for name, value in self.changes.items() if value is not None}
        )


@attrs.frozen
class Redirect:
    """A redirect to another host, or (without ``to``) to the same URL, in an endless loop."""

    to: str | None = None
    status: int = 302

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        kept = {name: value for name, value in reply.headers.items() if name.startswith(("X-", "ETag"))}
        redirect = Reply(self.status, {**kept, "Location": self.to or request.target}, replaced=True)
        return None if reply.replaced else redirect


@attrs.frozen
class Body:
    """Other content with the same headers: broken JSON, a web page."""

    data: bytes
    content_type: str | None = None

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        kept = {name: value for name, value in reply.headers.items() if name not in ("Content-Length", "Content-Range")}
        typed = {"Content-Type": self.content_type} if self.content_type else {}
        return None if reply.replaced else Reply(200, {**kept, **typed}, Bytes(self.data), replaced=True)


def web_page() -> Body:
    return Body(b"<!DOCTYPE html><html><body>Log in to this network</body></html>", "text/html")


@attrs.frozen
class EditJson:
    """A changed JSON response of the API; an edit that changes nothing does not count."""

    edit: Callable[[Json], Json]

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        if not reply.headers.get("Content-Type", "").startswith("application/json") or reply.status != 200:
            return None
        before = reply.text()
        after = json.dumps(self.edit(json.loads(before))).encode()
        return attrs.evolve(reply, content=Bytes(after), span=None) if after != before else None


# --- which requests they apply to


@attrs.define
class Rule:
    """A fault and the requests that it applies to. ``hits`` counts how often it did."""

    fault: Fault
    path: str
    method: str | None
    site: Site | None
    times: int | None
    skip: int
    hits: int = 0

    def matches(self, request: Request) -> bool:
        return (
            (self.times is None or self.hits < self.times)
            and self.method in (None, request.method)
            and self.site in (None, request.site)
            and fnmatchcase(request.path, self.path)
        )


@attrs.define
class Rules:
    """The active faults, in the order in which they were added."""

    held: list[Rule] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self.held.append(rule)
        return rule

    def remove(self, rule: Rule | None) -> None:
        """Remove one fault, or all."""
        with self._lock:
            self.held = [kept for kept in self.held if rule is not None and kept is not rule]

    def apply(self, request: Request, reply: Reply) -> Reply:
        with self._lock:
            for rule in self.held:
                changed = rule.fault.apply(request, reply) if rule.matches(request) else None
                if changed is None:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.hits += 1
                reply = changed
        return reply
