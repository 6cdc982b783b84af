"""The request context: the head of one request, its id, and the facts that the access log will state."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, TypeAlias

import attrs
from starlette.types import Scope

from mlxknife.domain.text.rules.redaction import redacted

if TYPE_CHECKING:
    from mlxknife.http.core.limits import RequestBody

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

TARGET_HOST = "mlxknife.target_host"
"""Where the server's protocol puts the host of a target in absolute form: ``GET http://host/path``."""
_CONTEXT = "mlxknife.context"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@attrs.define(eq=False)
class RequestContext:
    """One request from its head to the end of its response."""

    method: str
    path: str
    """The path as the client sent it."""
    route_path: str
    """The path below the place where the application is mounted."""
    headers: Headers
    target_host: bytes | None
    request_id: str
    started: float = attrs.field(factory=time.monotonic)
    body: RequestBody | None = None
    """The body, for the endpoints that use a model."""
    status: int | None = None
    """The status of the response, once its head is sent."""
    model: str | None = None
    detail: str | None = None
    """What went wrong, for the log."""

    @classmethod
    def open(cls, scope: Scope) -> RequestContext:
        """Make the context of a request and keep it in the scope."""
        headers = tuple((name, value.strip(b" \t")) for name, value in scope["headers"])
        path: str = scope["path"]
        context = cls(
            method=scope["method"],
            path=path,
            route_path=path.removeprefix(scope.get("root_path", "")),
            headers=headers,
            target_host=scope.get(TARGET_HOST),
            request_id=_request_id(headers),
        )
        scope[_CONTEXT] = context
        return context

    @classmethod
    def of(cls, scope: Scope) -> RequestContext:
        """Return the context that ``open`` kept in the scope."""
        context: RequestContext = scope[_CONTEXT]
        return context

    def take_body(self) -> bytes:
        """Return the body, once; it is empty for endpoints that read none."""
        return b"" if self.body is None else self.body.take()

    def release_body(self) -> None:
        """Free the budget of the body once nothing made of it is left."""
        if self.body is not None:
            self.body.release()

    @property
    def seconds(self) -> float:
        """Return the time since the request started."""
        return time.monotonic() - self.started

    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of a header; ``name`` is in lower case."""
        return [value for key, value in self.headers if key == name]

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, or None; ``name`` is in lower case."""
        return next((value for key, value in self.headers if key == name), None)


def _request_id(headers: Headers) -> str:
    """Return the client's X-Request-ID where it is well-formed and holds no secret, else a new id."""
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    if _REQUEST_ID.fullmatch(given) is not None:
        text = given.decode("ascii")
        if redacted(text) == text:
            return text
    return f"req_{uuid.uuid4().hex}"
