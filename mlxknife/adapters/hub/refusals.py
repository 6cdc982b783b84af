"""What went wrong at the Hub or on the way to it, in our words, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from mlxknife.domain.errors import DownloadFailed, HubAccessDenied, HubAuthError, KnifeError, NetworkError
from mlxknife.domain.hints import HintCode

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _RATE_LIMITED = 401, 403, 404, 429
_BAD_TOKEN = "Invalid credentials"  # noqa: S105 - what the Hub says of one, not one
_DISABLED = "Access to this resource is disabled."


class TryAgain(Exception):
    """Something that may be over in a moment. ``error`` is what it is if it is not."""

    def __init__(self, error: KnifeError, after: float | None = None) -> None:
        """Hold the error, and how many seconds the Hub asked to wait."""
        super().__init__(error.message)
        self.error = error
        self.after = after


@contextmanager
def our_errors(what: str) -> Iterator[None]:
    """Turn what the HTTP client raises into TryAgain, or into an error that trying again cannot help."""
    try:
        yield
    except httpx2.TimeoutException as exc:
        msg = f"{what}: the Hub does not answer"
        raise TryAgain(NetworkError(msg, hint=HintCode.CHECK_NETWORK)) from exc
    except (httpx2.UnsupportedProtocol, httpx2.TooManyRedirects, httpx2.InvalidURL) as exc:
        msg = f"{what}: the Hub leads nowhere ({exc})"
        raise DownloadFailed(msg) from exc
    except httpx2.HTTPError as exc:
        msg = f"{what}: the connection failed ({exc or type(exc).__name__})"
        raise TryAgain(NetworkError(msg, hint=HintCode.CHECK_NETWORK)) from exc


def check(response: httpx2.Response, what: str, *, has_token: bool) -> None:
    """Raise what an answer that is no success stands for; its body is not read."""
    status = response.status_code
    if status < 300:  # noqa: PLR2004 - redirects have been followed
        return
    code = response.headers.get("X-Error-Code", "")
    said = response.headers.get("X-Error-Message", "")
    if response.history and not code and status == _FORBIDDEN:
        msg = f"{what}: the file store refused its link"  # such links run out: the Hub gives a new one
        raise TryAgain(DownloadFailed(msg))
    if response.history and not code and status == _NOT_FOUND:
        msg = f"{what}: the file store does not have it"
        raise DownloadFailed(msg, hint=HintCode.REPORT_TO_OWNER)
    if status in _TRANSIENT:
        raise TryAgain(_passing(status, what), _seconds(response))
    raise _final(status, code, said, what, has_token=has_token)


def _passing(status: int, what: str) -> DownloadFailed:
    if status == _RATE_LIMITED:
        return DownloadFailed(f"{what}: the Hub has had too many requests (429)", hint=HintCode.RATE_LIMIT)
    return DownloadFailed(f"{what}: the Hub has trouble ({status})", hint=HintCode.RESUME_DOWNLOAD)


def _final(status: int, code: str, said: str, what: str, *, has_token: bool) -> KnifeError:
    """Return the error for an answer that will not change; ``code`` and ``said`` are what its headers add."""
    error: KnifeError = DownloadFailed(f"{what}: the Hub answered {status}")
    if code == "GatedRepo":
        hint = HintCode.REQUEST_ACCESS if has_token else HintCode.REQUEST_ACCESS_AND_LOG_IN
        error = HubAccessDenied(f"{what}: access is restricted by its authors", hint=hint)
    elif status == _UNAUTHORISED and _BAD_TOKEN in said:
        error = HubAuthError(f"{what}: the Hub does not accept the token", hint=HintCode.CHECK_TOKEN)
    elif said == _DISABLED:
        error = HubAccessDenied(f"{what}: the Hub has taken it out of service")
    elif code == "RevisionNotFound":
        error = DownloadFailed(f"{what}: no such revision", hint=HintCode.REVISION_FORMS)
    elif code == "EntryNotFound":
        error = DownloadFailed(f"{what}: the Hub lists that file and does not have it")
    elif code == "RepoNotFound" or status in (_UNAUTHORISED, _NOT_FOUND):
        hint = HintCode.CHECK_NAME if has_token else HintCode.CHECK_NAME_OR_LOG_IN
        error = DownloadFailed(f"{what}: repository not found", hint=hint)
    elif status == _FORBIDDEN:
        error = HubAccessDenied(f"{what}: the Hub refuses it" + (f" ({said[:200]})" if said else ""))
    return error


def _seconds(response: httpx2.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None
