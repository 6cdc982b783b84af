"""The one mapping from errors to OpenAI's statuses and error documents, with hints that help an HTTP client."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import attrs
import msgspec

from mlxknife.domain.errors import KnifeError
from mlxknife.http.core.api import ErrorResponse
from mlxknife.http.core.context import Headers
from mlxknife.http.core.errors import HttpError, Unauthorized
from mlxknife.http.core.hints import hint_text

_RETRY_SECONDS = 1.0
"""The value of Retry-After where the error names none."""


class ErrorObject(msgspec.Struct, frozen=True):
    """``type`` is the code of the CLI's contract, ``code`` is OpenAI's, ``param`` is the place in the body."""

    type: str
    message: str
    param: str | None
    code: str
    retryable: bool


class ErrorDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an error response, and the data of a stream's error event."""

    status: Literal["error"] = "error"
    error: ErrorObject
    request_id: str


@attrs.frozen
class ErrorMapping:
    """What OpenAI's clients see of one kind of error."""

    status: int
    code: str
    is_retryable: bool = False
    param: str | None = None


MAPPINGS = {
    "ValidationError": ErrorMapping(400, "invalid_request"),
    "ambiguous_match": ErrorMapping(400, "ambiguous_match", param="model"),
    "context_length_exceeded": ErrorMapping(400, "context_length_exceeded"),
    "feature_disabled": ErrorMapping(403, "feature_disabled"),
    "model_not_found": ErrorMapping(404, "model_not_found", param="model"),
    "model_not_runnable": ErrorMapping(422, "model_not_runnable", param="model"),
    "unsupported_capability": ErrorMapping(422, "unsupported_capability"),
    "template_error": ErrorMapping(422, "template_error"),
    "generation_failed": ErrorMapping(500, "server_error"),
    "server_busy": ErrorMapping(503, "server_busy", is_retryable=True),
    "worker_lost": ErrorMapping(503, "worker_lost", is_retryable=True),
    "locks_present": ErrorMapping(503, "model_locked", is_retryable=True),
    "insufficient_memory": ErrorMapping(507, "insufficient_memory", param="model"),
}
"""For each code of the domain's errors; a subclass without an entry of its own has that of its base class."""
_INTERNAL = ErrorMapping(500, "server_error")

_HTTP_CODES = {400: "invalid_request", 401: "invalid_api_key", 429: "rate_limit_exceeded"}
"""OpenAI's codes of the errors of HTTP; the others keep the code of the contract."""
_RETRYABLE_STATUSES = (408, 429, 503)

_HINTS = {
    "auth_error": "Send it as Authorization: Bearer KEY, or as X-API-Key: KEY",
    "model_not_found": "GET /v1/models lists the models that are here",
    "model_not_runnable": "GET /v1/models lists the models that can run here",
    "ValidationError": "GET /v1/models lists the names that a request may use",
}
"""Hints for errors about the key or the model, where the error has no hint that a client can follow."""


def error_document(error: KnifeError, request_id: str, redact: Callable[[str], str]) -> ErrorDocument:
    """Return the document of an error; ``redact`` removes tokens and home folders from its message."""
    mapping = _mapping(error)
    param = error.param or mapping.param
    return ErrorDocument(
        error=ErrorObject(
            type=error.code,
            message=redact(_sentence(error, param)),
            param=param,
            code=mapping.code,
            retryable=mapping.is_retryable,
        ),
        request_id=request_id,
    )


def error_response(error: KnifeError, request_id: str, redact: Callable[[str], str]) -> ErrorResponse:
    """Return the status, the document and the headers of an error."""
    document = error_document(error, request_id, redact)
    headers = ((b"content-type", b"application/json"), *_headers(error))
    return ErrorResponse(_mapping(error).status, msgspec.json.encode(document), headers)


def _mapping(error: KnifeError) -> ErrorMapping:
    if isinstance(error, HttpError):
        code = _HTTP_CODES.get(error.status, error.code)
        return ErrorMapping(error.status, code, is_retryable=error.status in _RETRYABLE_STATUSES)
    codes = (vars(kind).get("code") for kind in type(error).__mro__)
    return next((MAPPINGS[code] for code in codes if code in MAPPINGS), _INTERNAL)


def _sentence(error: KnifeError, param: str | None) -> str:
    hint = _hint(error, param)
    listed = error.matches or error.suggestions or ()
    is_named_by_hint = hint is not None and len(listed) == 1 and listed[0] in hint
    names = "" if is_named_by_hint else ", ".join(listed)
    message = f"{error.message} ({names})" if names else error.message
    return f"{message}. {hint}" if hint else message


def _hint(error: KnifeError, param: str | None) -> str | None:
    if isinstance(error, Unauthorized):
        return _HINTS[error.code]
    text = hint_text(error.hint)
    if text is not None or error.hint is None:
        return text
    return _HINTS.get(error.code) if param == "model" else None


def _headers(error: KnifeError) -> Headers:
    headers = error.headers if isinstance(error, HttpError) else ()
    if isinstance(error, Unauthorized):
        return (*headers, (b"www-authenticate", b"Bearer"))
    if _mapping(error).is_retryable:
        seconds = max(1, math.ceil(error.retry_after or _RETRY_SECONDS))
        return (*headers, (b"retry-after", str(seconds).encode()))
    return headers
