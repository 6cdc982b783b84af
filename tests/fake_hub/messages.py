"""Requests and replies, before they are written to a socket."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qs, unquote

import attrs

from tests.fake_hub.contents import Bytes, Content

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
Site = Literal["hub", "cdn"]

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@attrs.frozen
class Request:
    """A request as received: the target is still quoted."""

    method: str
    target: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes = b""
    site: Site = "hub"

    @property
    def raw_path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def raw_query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.raw_query, keep_blank_values=True)

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[-1].lower() in ("true", "1")

    @property
    def token(self) -> str | None:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else None


@attrs.frozen
class Reply:
    """A response of the server, which faults can change."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """``Content-Length`` is that of the span unless it is set here."""
    content: Content = attrs.field(factory=lambda: Bytes(b""))
    span: tuple[int, int] | None = None
    """The part of the content to send; None is all of it."""
    flips: tuple[int, ...] = ()
    """Positions in the content at which every bit is flipped."""
    cut_after: int | None = None
    reset: bool = False
    """Whether a cut is a reset rather than an orderly end."""
    hang_after: int | None = None
    delay: float = 0.0
    replaced: bool = False
    """Whether a fault replaced the right reply; another such fault does not apply then."""
    bytes_per_second: float | None = None

    @property
    def start(self) -> int:
        return self.span[0] if self.span else 0

    @property
    def stop(self) -> int:
        return self.span[1] if self.span else self.content.size

    @property
    def length(self) -> int:
        return self.stop - self.start

    def with_headers(self, **headers: str) -> Reply:
        """Return the reply with more headers; underscores in the names become dashes."""
        return attrs.evolve(
            self, headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        )

    def text(self) -> bytes:
        return b"".join(self.content.chunks(self.start, self.stop))


def json_reply(value: Json, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json; charset=utf-8"}, Bytes(json.dumps(value).encode()))


def refusal(status: int, code: str | None, message: str) -> Reply:
    """Return an error in the Hub's form: two headers for programs, a JSON body for people."""
    reply = json_reply({"error": message}, status)
    named = {"X-Error-Code": code} if code else {}
    return attrs.evolve(reply, headers={**reply.headers, **named, "X-Error-Message": message})


def ranged(request: Request, reply: Reply) -> Reply:
    """Return the part of a file that the ``Range`` header requests."""
    requested = _ONE_RANGE.fullmatch(request.headers.get("range", ""))
    unchanged = request.headers.get("if-range", reply.headers.get("ETag")) == reply.headers.get("ETag")
    if requested is None or requested[0] == "bytes=-" or not unchanged:
        return reply
    size = reply.content.size
    first, last = requested.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size or stop <= start:
        refused = refusal(416, None, "Range Not Satisfiable")
        return refused.with_headers(Content_Range=f"bytes */{size}")
    partial = attrs.evolve(reply, status=206, span=(start, stop))
    return partial.with_headers(Content_Range=f"bytes {start}-{stop - 1}/{size}")
