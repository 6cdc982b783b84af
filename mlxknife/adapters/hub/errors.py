"""The mapping from HTTP failures and the Hub's error responses to the error tree, and which of them are retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from mlxknife.domain.errors import DownloadFailed, HubAccessDenied, HubAuthError, KnifeError, NetworkError

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _RATE_LIMITED = 401, 403, 404, 429
_BAD_TOKEN = "Invalid credentials"  # noqa: S105 - the Hub's message about a token, not a token
_DISABLED = "Access to this resource is disabled."
_LOG_IN = "set HF_TOKEN, or log in with: hf auth login"


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
        hint = "Check the network, and repeat it: the bytes downloaded so far are kept"
        raise RetryableError(NetworkError(msg, hint=hint)) from exc
    except (httpx2.UnsupportedProtocol, httpx2.TooManyRedirects, httpx2.InvalidURL) as exc:
        msg = f"{label}: the Hub redirects to an invalid address ({exc})"
        raise DownloadFailed(msg) from exc
    except httpx2.HTTPError as exc:
        msg = f"{label}: the connection failed ({exc or type(exc).__name__})"
        hint = "Check the network and HF_ENDPOINT, and repeat it: the bytes downloaded so far are kept"
        raise RetryableError(NetworkError(msg, hint=hint)) from exc


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
        raise DownloadFailed(msg, hint="Repeat it later, or report it to the owner of the model")
    if status in _TRANSIENT:
        raise RetryableError(_transient_error(status, label), _retry_after(response))
    raise _final_error(status, code, message, label, has_token=has_token)


def _transient_error(status: int, label: str) -> DownloadFailed:
    if status == _RATE_LIMITED:
        return DownloadFailed(
            f"{label}: the Hub's rate limit is reached (429)", hint="Wait a while; the limit is higher after a login"
        )
    return DownloadFailed(
        f"{label}: the Hub has a problem ({status})", hint="Try again later: the bytes downloaded so far are kept"
    )


def _final_error(status: int, code: str, message: str, label: str, *, has_token: bool) -> KnifeError:
    """Return the error for a response that will not change; ``code`` and ``message`` come from its headers."""
    log_in = "" if has_token else f", and {_LOG_IN}"
    private = "" if has_token else f"; if it is private, {_LOG_IN}"
    error: KnifeError = DownloadFailed(f"{label}: the Hub answered {status}")
    if code == "GatedRepo":
        hint = f"Request access on its page at the Hub{log_in}"
        error = HubAccessDenied(f"{label}: access is restricted by its authors", hint=hint)
    elif status == _UNAUTHORISED and _BAD_TOKEN in message:
        error = HubAuthError(f"{label}: the Hub does not accept the token", hint="Check HF_TOKEN, or: hf auth login")
    elif message == _DISABLED:
        error = HubAccessDenied(f"{label}: the Hub has disabled access to it")
    elif code == "RevisionNotFound":
        error = DownloadFailed(f"{label}: no such revision", hint="A revision is a branch, a tag or a commit")
    elif code == "EntryNotFound":
        error = DownloadFailed(f"{label}: the Hub lists that file and does not have it")
    elif code == "RepoNotFound" or status in (_UNAUTHORISED, _NOT_FOUND):
        error = DownloadFailed(f"{label}: repository not found", hint=f"Check the name{private}")
    elif status == _FORBIDDEN:
        error = HubAccessDenied(f"{label}: the Hub refuses it" + (f" ({message[:200]})" if message else ""))
    return error


def _retry_after(response: httpx2.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None
