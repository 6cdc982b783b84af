"""The mapping from HTTP failures and the Hub's error responses to the error tree, and which of them are retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from mlxknife.domain.errors import (
    DownloadFailed,
    HubAccessDenied,
    HubAuthError,
    KnifeError,
    NetworkError,
    RepoNotFound,
)
from mlxknife.domain.hints import HintCode

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _RATE_LIMITED = 401, 403, 404, 429
_BAD_TOKEN = "Invalid credentials"  # noqa: S105 - the Hub's message about a token, not a token
_DISABLED = "Access to this resource is disabled."


class RetryableError(Exception):
    """A failure that may be gone at the next try. ``error`` is raised when no try is left."""

    def __init__(self, error: KnifeError, retry_after: float | None = None) -> None:
        """Take the error, and the seconds of the Hub's ``Retry-After``."""
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after


@contextmanager
def map_client_errors(label: str) -> Iterator[None]:
    """Raise RetryableError or DownloadFailed for what the HTTP client raises; ``label`` names the model or the file."""
    try:
        yield
    except httpx2.TimeoutException as exc:
        msg = f"{label}: the Hub does not answer"
        raise RetryableError(NetworkError(msg, hint=HintCode.CHECK_NETWORK)) from exc
    except (httpx2.UnsupportedProtocol, httpx2.TooManyRedirects, httpx2.InvalidURL) as exc:
        msg = f"{label}: the Hub redirects to an invalid address ({exc})"
        raise DownloadFailed(msg) from exc
    except httpx2.HTTPError as exc:
        msg = f"{label}: the connection failed ({exc or type(exc).__name__})"
        raise RetryableError(NetworkError(msg, hint=HintCode.CHECK_NETWORK)) from exc


def raise_for_status(response: httpx2.Response, label: str, *, has_token: bool) -> None:
    """Raise RetryableError or the final error for a response that is no success. The body is not read."""
    status = response.status_code
    if status < 300:  # noqa: PLR2004 - redirects have been followed
        return
    code = response.headers.get("X-Error-Code", "")
    message = response.headers.get("X-Error-Message", "")
    if response.history and not code and status == _FORBIDDEN:
        msg = f"{label}: the file store refused its link"  # such links expire: the Hub issues a new one
        raise RetryableError(DownloadFailed(msg))
    if response.history and not code and status == _NOT_FOUND:
        msg = f"{label}: the file store does not have it"
        raise DownloadFailed(msg, hint=HintCode.REPORT_TO_OWNER)
    if status in _TRANSIENT:
        raise RetryableError(_transient_error(status, label), _retry_after(response))
    raise _final_error(status, code, message, label, has_token=has_token)


def _transient_error(status: int, label: str) -> DownloadFailed:
    if status == _RATE_LIMITED:
        return DownloadFailed(f"{label}: the Hub's rate limit is reached (429)", hint=HintCode.RATE_LIMIT)
    return DownloadFailed(f"{label}: the Hub has a problem ({status})", hint=HintCode.RESUME_DOWNLOAD)


def _final_error(status: int, code: str, message: str, label: str, *, has_token: bool) -> KnifeError:
    """Return the error for a response that will not change; ``code`` and ``message`` come from its headers."""
    error: KnifeError = DownloadFailed(f"{label}: the Hub answered {status}")
    if code == "GatedRepo":
        hint = HintCode.REQUEST_ACCESS if has_token else HintCode.REQUEST_ACCESS_AND_LOG_IN
        error = HubAccessDenied(f"{label}: access is restricted by its authors", hint=hint)
    elif status == _UNAUTHORISED and _BAD_TOKEN in message:
        error = HubAuthError(f"{label}: the Hub does not accept the token", hint=HintCode.CHECK_TOKEN)
    elif message == _DISABLED:
        error = HubAccessDenied(f"{label}: the Hub has disabled access to it")
    elif code == "RevisionNotFound":
        error = DownloadFailed(f"{label}: no such revision", hint=HintCode.REVISION_FORMS)
    elif code == "EntryNotFound":
        error = DownloadFailed(f"{label}: the Hub lists that file and does not have it")
    elif code == "RepoNotFound" or status in (_UNAUTHORISED, _NOT_FOUND):
        hint = HintCode.CHECK_NAME if has_token else HintCode.CHECK_NAME_OR_LOG_IN
        error = RepoNotFound(f"{label}: repository not found", hint=hint)
    elif status == _FORBIDDEN:
        error = HubAccessDenied(f"{label}: the Hub refuses it" + (f" ({message[:200]})" if message else ""))
    return error


def _retry_after(response: httpx2.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None
