"""A visit: one request from its head to the end of its answer, and what is noted of it on the way."""

from __future__ import annotations

import re
import time
import uuid

import attrs
from starlette.types import Scope

from mlxknife.domain.text.rules.redaction import redacted

_PLACE = "mlxknife.visit"
AUTHORITY = "mlxknife.authority"
"""Where the connection leaves the host that an address names."""
NEWCOMER = "mlxknife.newcomer"
"""Where it leaves what it is known as to whoever counts those who have come and have no place yet."""
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@attrs.frozen
class Head:
    """What a request says before its body."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    authority: bytes | None = None
    """The host that the address of the request names beside its header: ``GET http://host/path``."""

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a header, named in small letters."""
        return [value for key, value in self.headers if key == name]

    def one(self, name: bytes) -> bytes | None:
        """Return the value of a header, or the first of several."""
        return next((value for key, value in self.headers if key == name), None)


@attrs.define(eq=False)
class Visit:
    """What is known of a request."""

    head: Head
    request_id: str
    began: float = attrs.field(factory=time.monotonic)
    status: int | None = None
    """What was answered, as soon as it was."""
    model: str | None = None
    detail: str | None = None
    """What went wrong, for the log."""
    ended: float | None = None
    """When it did, by the clock of ``began``, where that is said."""

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    def end(self) -> None:
        """Let it last no longer: it is noted later than it ends."""
        self.ended = time.monotonic()


def head_of(scope: Scope) -> Head:
    """Return the head of a request."""
    fields = [(name, value.strip(b" \t")) for name, value in scope["headers"]]  # of which the parser leaves the end
    return Head(scope["method"], scope["path"], fields, scope.get(AUTHORITY))


def begin(head: Head) -> Visit:
    """Begin a visit, under the id that the client chose where that is one."""
    given = head.one(b"x-request-id")
    is_sane = given is not None and _SANE_ID.fullmatch(given) is not None and not _tells(given.decode("ascii"))
    return Visit(head, given.decode("ascii") if given is not None and is_sane else f"req_{uuid.uuid4().hex}")


def _tells(text: str) -> bool:
    """Tell whether a text has something in it that no log may show."""
    return redacted(text) != text


def enter(scope: Scope, visit: Visit) -> None:
    """Let the scope of a request know its visit."""
    scope[_PLACE] = visit


def visit_of(scope: Scope) -> Visit:
    """Return the visit that a scope belongs to."""
    visit: Visit = scope[_PLACE]
    return visit
