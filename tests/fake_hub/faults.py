"""Everything that can be wrong with an answer. A fault makes another reply of a reply, or leaves it alone."""

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
    """Something that can go wrong; None says that this reply is not one it can happen to."""

    def apply(self, request: Request, reply: Reply) -> Reply | None: ...


def _has_body(request: Request, reply: Reply) -> bool:
    return request.method != "HEAD" and reply.status in (200, 206)


# --- faults of a body: a redirect, an error and a HEAD do not count


@attrs.frozen
class Cut:
    """The connection ends after so many bytes of this body."""

    after: int
    reset: bool = False

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        return attrs.evolve(reply, cut_after=self.after, reset=self.reset) if _has_body(request, reply) else None


@attrs.frozen
class Flip:
    """The byte at a place of the whole file is wrong (counted from the end where negative); the length is right."""

    at: int

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        place = self.at if self.at >= 0 else reply.content.size + self.at
        if not _has_body(request, reply) or not reply.start <= place < reply.stop:
            return None
        return attrs.evolve(reply, flips=(*reply.flips, place))


@attrs.frozen
class WrongLength:
    """``Content-Length`` says more (or less, where negative) than is sent."""

    by: int

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        wrong = reply.with_headers(Content_Length=str(max(0, reply.length + self.by)))
        return wrong if _has_body(request, reply) else None


@attrs.frozen
class Slow:
    """The body comes at this rate."""

    bytes_per_second: float

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        return attrs.evolve(reply, bytes_per_second=self.bytes_per_second) if _has_body(request, reply) else None


@attrs.frozen
class Stall:
    """After so many bytes of the body nothing more comes, until the Hub closes."""

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
        packed = Reply(200, headers, Bytes(gzip.compress(whole)))
        return packed.with_headers(Content_Encoding="gzip", ETag="W/" + headers.get("ETag", '""'))


# --- faults of any answer


@attrs.frozen
class Status:
    """An error instead of the answer."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    code: str | None = None
    message: str = "The fake Hub was told to fail"

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        error = refusal(self.status, self.code, self.message)
        error = attrs.evolve(error, headers={**error.headers, **self.headers}, replaced=True)
        return None if reply.replaced else error


def rate_limited(retry_after: int = 0) -> Status:
    headers = {"Retry-After": str(retry_after), "RateLimit": f'"api";r=0;t={retry_after}'}
    return Status(429, headers, message="You have been rate limited")


@attrs.frozen
class Delay:
    """Nothing comes for a while, not even headers."""

    seconds: float

    def apply(self, _request: Request, reply: Reply) -> Reply:
        return attrs.evolve(reply, delay=self.seconds)


def hang() -> Delay:
    """Return the fault that no answer ever comes."""
    return Delay(float("inf"))


@attrs.frozen
class Headers:
    """Headers say something else; None takes one away."""

    changes: Mapping[str, str | None]

    def apply(self, _request: Request, reply: Reply) -> Reply:
        given = {name.lower() for name in self.changes}
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in given}
        return attrs.evolve(
            reply, headers=kept | {name: value for name, value in self.changes.items() if value is not None}
        )


@attrs.frozen
class Redirect:
    """The answer is elsewhere: at another host, or (without a place) at this very address, for ever."""

    to: str | None = None
    status: int = 302

    def apply(self, request: Request, reply: Reply) -> Reply | None:
        kept = {name: value for name, value in reply.headers.items() if name.startswith(("X-", "ETag"))}
        elsewhere = Reply(self.status, {**kept, "Location": self.to or request.target}, replaced=True)
        return None if reply.replaced else elsewhere


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
    """An answer of the API says something else; an edit that changes nothing does not count."""

    edit: Callable[[Json], Json]

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        if not reply.headers.get("Content-Type", "").startswith("application/json") or reply.status != 200:
            return None
        before = reply.text()
        after = json.dumps(self.edit(json.loads(before))).encode()
        return attrs.evolve(reply, content=Bytes(after), span=None) if after != before else None


# --- when they happen


@attrs.define
class Rule:
    """A fault with the requests it happens to. ``hits`` says how often it did."""

    fault: Fault
    path: str
    method: str | None
    site: Site | None
    times: int | None
    skip: int
    hits: int = 0

    def concerns(self, request: Request) -> bool:
        return (
            (self.times is None or self.hits < self.times)
            and self.method in (None, request.method)
            and self.site in (None, request.site)
            and fnmatchcase(request.path, self.path)
        )


@attrs.define
class Rules:
    """The faults that are switched on, in the order in which they were."""

    held: list[Rule] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self.held.append(rule)
        return rule

    def remove(self, rule: Rule | None) -> None:
        """Switch one fault off, or all."""
        with self._lock:
            self.held = [kept for kept in self.held if rule is not None and kept is not rule]

    def apply(self, request: Request, reply: Reply) -> Reply:
        with self._lock:
            for rule in self.held:
                changed = rule.fault.apply(request, reply) if rule.concerns(request) else None
                if changed is None:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.hits += 1
                reply = changed
        return reply
