"""The errors that the HTTP side raises itself, each with its status.

::

    KnifeError
    └── HttpError                  status, code
        ├── BadRequest             400 the body or the head is wrong            ValidationError
        ├── Unauthorized           401 the API key is missing or wrong          auth_error
        ├── HostRefused            403 the request names another host           host_refused
        ├── OriginRefused          403 the page has another origin              origin_refused
        ├── PathNotFound           404                                          not_found
        ├── MethodNotAllowed       405                                          method_not_allowed
        ├── BodyTimeout            408 the body took too long                   request_timeout
        ├── ResponseUnread         408 the client reads its response too slowly   request_timeout
        ├── BodyTooLarge           413                                          request_too_large
        ├── UnsupportedMediaType   415 the body is not JSON                     unsupported_media_type
        ├── UnsupportedInput       422 the input needs a missing capability     unsupported_capability
        ├── HeadTooLarge           431                                          request_too_large
        ├── TooManyRequests        429 the server is full                       server_busy
        └── ServerStopping         503                                          server_stopping
"""

from __future__ import annotations

from typing import ClassVar

from mlxknife.domain.errors import KnifeError


class ClientDisconnected(Exception):
    """The client closed the connection, so there is no response to send."""


class HttpError(KnifeError):
    """An error of HTTP or of a request's form; ``param`` is the place in the body, such as ``messages[0].role``."""

    status: ClassVar[int]
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Headers that every API sends with this error."""

    def __init__(
        self, message: str, *, param: str | None = None, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        """Hold the message and the fields of the error document. The hint is a sentence for clients, not a code."""
        super().__init__(f"{message}. {hint}" if hint else message, param=param, retry_after=retry_after)


class BadRequest(HttpError):
    """The request cannot be right; ``param`` names the field where there is one."""

    code, status = "ValidationError", 400


class Unauthorized(HttpError):
    """The API key is missing or wrong."""

    code, status = "auth_error", 401


class HostRefused(HttpError):
    """The request names another host: a web page may have bound its own name to this address (DNS rebinding)."""

    code, status = "host_refused", 403


class OriginRefused(HttpError):
    """The request comes from a web page of another origin."""

    code, status = "origin_refused", 403


class PathNotFound(HttpError):
    """No endpoint has this path."""

    code, status = "not_found", 404


class MethodNotAllowed(HttpError):
    """The endpoint takes other methods."""

    code, status = "method_not_allowed", 405

    def __init__(self, allowed: str) -> None:
        """Hold the value of the ``Allow`` header."""
        super().__init__(f"The method must be {allowed}")
        self.headers = ((b"allow", allowed.encode("ascii")),)


class BodyTimeout(HttpError):
    """The body did not arrive in time."""

    code, status = "request_timeout", 408


class ResponseUnread(HttpError):
    """The client reads its response more slowly than the model generates it, for too long."""

    code, status = "request_timeout", 408

    def __init__(self) -> None:
        """Hold the one message of this error."""
        super().__init__("The client reads its response too slowly")


class BodyTooLarge(HttpError):
    """The body is larger than the limit."""

    code, status = "request_too_large", 413


class UnsupportedMediaType(HttpError):
    """The body is declared as something other than JSON."""

    code, status = "unsupported_media_type", 415


class UnsupportedInput(HttpError):
    """The input needs a capability that no model here has."""

    code, status = "unsupported_capability", 422


class HeadTooLarge(HttpError):
    """The request line and the headers are larger than the limit."""

    code, status = "request_too_large", 431


class TooManyRequests(HttpError):
    """A limit of the server is reached; the connection is closed after this error."""

    code, status = "server_busy", 429


class ServerStopping(HttpError):
    """The server is shutting down."""

    code, status = "server_stopping", 503

    def __init__(self) -> None:
        """Hold the one message of this error."""
        super().__init__("The server is stopping", hint="Try again in a moment")
