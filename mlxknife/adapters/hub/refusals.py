"""What went wrong at the Hub or on the way to it, in our words, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from mlxknife.domain.errors import DownloadFailed, HubAccessDenied, HubAuthError, KnifeError, NetworkError

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _RATE_LIMITED = 401, 403, 404, 429
_BAD_TOKEN = "Invalid credentials"  # noqa: S105 - what the Hub says of one, not one
_DISABLED = "Access to this resource is disabled."
_LOG_IN = "set HF_TOKEN, or log in with: hf auth login"


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
        raise TryAgain(NetworkError(msg, hint="Check the network, and repeat it: what came so far is kept")) from exc
    except (httpx2.UnsupportedProtocol, httpx2.TooManyRedirects, httpx2.InvalidURL) as exc:
        msg = f"{what}: the Hub leads nowhere ({exc})"
        raise DownloadFailed(msg) from exc
    except httpx2.HTTPError as exc:
        msg = f"{what}: the connection failed ({exc or type(exc).__name__})"
        hint = "Check the network and HF_ENDPOINT, and repeat it: what came so far is kept"
        raise TryAgain(NetworkError(msg, hint=hint)) from exc


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
        raise DownloadFailed(msg, hint="Repeat it later, or tell the owner of the model")
    if status in _TRANSIENT:
        raise TryAgain(_passing(status, what), _seconds(response))
    raise _final(status, code, said, what, has_token=has_token)


def _passing(status: int, what: str) -> DownloadFailed:
    if status == _RATE_LIMITED:
        return DownloadFailed(
            f"{what}: the Hub has had too many requests (429)", hint="Wait a while; who is logged in may ask more"
        )
    return DownloadFailed(f"{what}: the Hub has trouble ({status})", hint="Try again later: what came so far is kept")


def _final(status: int, code: str, said: str, what: str, *, has_token: bool) -> KnifeError:
    """Return the error for an answer that will not change; ``code`` and ``said`` are what its headers add."""
    log_in = "" if has_token else f", and {_LOG_IN}"
    private = "" if has_token else f"; if it is private, {_LOG_IN}"
    error: KnifeError = DownloadFailed(f"{what}: the Hub answered {status}")
    if code == "GatedRepo":
        hint = f"Ask for access on its page at the Hub{log_in}"
        error = HubAccessDenied(f"{what}: access is restricted by its authors", hint=hint)
    elif status == _UNAUTHORISED and _BAD_TOKEN in said:
        error = HubAuthError(f"{what}: the Hub does not accept the token", hint="Check HF_TOKEN, or: hf auth login")
    elif said == _DISABLED:
        error = HubAccessDenied(f"{what}: the Hub has taken it out of service")
    elif code == "RevisionNotFound":
        error = DownloadFailed(f"{what}: no such revision", hint="A revision is a branch, a tag or a commit")
    elif code == "EntryNotFound":
        error = DownloadFailed(f"{what}: the Hub lists that file and does not have it")
    elif code == "RepoNotFound" or status in (_UNAUTHORISED, _NOT_FOUND):
        error = DownloadFailed(f"{what}: repository not found", hint=f"Check the name{private}")
    elif status == _FORBIDDEN:
        error = HubAccessDenied(f"{what}: the Hub refuses it" + (f" ({said[:200]})" if said else ""))
    return error


def _seconds(response: httpx2.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None
