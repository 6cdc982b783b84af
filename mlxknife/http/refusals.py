"""What the HTTP side refuses by itself, each with its status.

::

    KnifeError
    └── Refusal               400 and the place of the fault       ValidationError
        ├── Incapable         422 a capability that is not there   unsupported_capability
        ├── KeyRefused        401 no key, or another               auth_error
        ├── HostRefused       403 a name that is not ours          host_refused
        ├── OriginRefused     403 a page of somebody else          origin_refused
        ├── NoSuchPath        404                                  not_found
        ├── WrongMethod       405                                  method_not_allowed
        ├── TooSlow           408 the body did not come            request_timeout
        ├── BodyTooLarge      413                                  request_too_large
        ├── NotJson           415                                  unsupported_media_type
        ├── HeadTooLarge      431                                  request_too_large
        ├── Full              429 too many requests already        server_busy
        └── Stopping          503 the server is about to end       server_stopping
"""

from __future__ import annotations

from typing import ClassVar

from mlxknife.domain.errors import KnifeError


class Refusal(KnifeError):
    """A request that cannot be right; ``param`` is where in the body the fault stands."""

    code = "ValidationError"
    status: ClassVar[int] = 400
    openai_code: ClassVar[str] = "invalid_request"

    def __init__(
        self, message: str, *, param: str | None = None, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        """Hold the message, worded for clients: the hint is a sentence of it, not a code."""
        super().__init__(f"{message}. {hint}" if hint else message, param=param, retry_after=retry_after)


class Incapable(Refusal):
    """Something that no model here can do."""

    code, status, openai_code = "unsupported_capability", 422, "unsupported_capability"


class KeyRefused(Refusal):
    """The request has no key, or another one."""

    code, status, openai_code = "auth_error", 401, "invalid_api_key"


class HostRefused(Refusal):
    """The request is meant for a host of another name: a page may have bound its name to this address."""

    code, status, openai_code = "host_refused", 403, "host_refused"


class OriginRefused(Refusal):
    """The request comes from a page of somebody else."""

    code, status, openai_code = "origin_refused", 403, "origin_refused"


class NoSuchPath(Refusal):
    """Nothing is there."""

    code, status, openai_code = "not_found", 404, "not_found"


class WrongMethod(Refusal):
    """Something is there, and it is not used so."""

    code, status, openai_code = "method_not_allowed", 405, "method_not_allowed"


class TooSlow(Refusal):
    """The body did not come in time."""

    code, status, openai_code = "request_timeout", 408, "request_timeout"


class BodyTooLarge(Refusal):
    """The body is larger than any request needs to be."""

    code, status, openai_code = "request_too_large", 413, "request_too_large"


class NotJson(Refusal):
    """The body is said to be something else than JSON."""

    code, status, openai_code = "unsupported_media_type", 415, "unsupported_media_type"


class HeadTooLarge(Refusal):
    """The head is larger than any request needs to be."""

    code, status, openai_code = "request_too_large", 431, "request_too_large"


class Full(Refusal):
    """As many requests as may wait or run are there already."""

    code, status, openai_code = "server_busy", 429, "rate_limit_exceeded"


class Stopping(Refusal):
    """The server is about to end."""

    code, status, openai_code = "server_stopping", 503, "server_stopping"
