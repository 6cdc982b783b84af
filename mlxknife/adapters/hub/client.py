"""HTTP requests to the Hub: small responses as a whole, files in chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_session
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented, and exported lazily

from mlxknife.adapters.hub import errors
from mlxknife.adapters.hub.xet import XetAccess
from mlxknife.domain.errors import DownloadFailed, HubAuthError
from mlxknife.domain.hints import HintCode
from mlxknife.version import __version__

_MAX_BODY = 64 * 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_PARTIAL, _OK, _RANGE_NOT_SATISFIABLE = 206, 200, 416


class HubClient:
    """An HTTP client for one Hub, with the user's token where there is one.

    ``label`` names the model or the file in error messages. Every method raises RetryableError, or an error of ``Hub``.
    """

    def __init__(self, endpoint: str | None, token: str | None) -> None:
        """Take the Hub's URL and the user's token; what is None is found by huggingface_hub in the environment."""
        constants.HF_HUB_DISABLE_TELEMETRY = True  # it would ask the Hub which agent runs it, and report torch
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._token = token

    def get(self, url: str, label: str, *, max_body: int | None = None) -> tuple[bytes, str | None]:
        """Return the body of an API response, and the URL of its next page."""
        limit = _MAX_BODY if max_body is None else max_body
        with self._stream(url, label, {}) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > limit:
                    msg = f"{label}: the Hub's answer does not end"
                    raise DownloadFailed(msg)
            next_page = response.links.get("next", {}).get("url")
        return bytes(body), self._checked_page(next_page) if next_page else None

    def xet_access(self, url: str, label: str) -> XetAccess:
        """Return the access to the chunk store that the Hub grants."""
        with self._stream(url, label, {}) as response:
            headers = response.headers
            try:
                return XetAccess(
                    endpoint=headers["X-Xet-Cas-Url"],
                    token=headers["X-Xet-Access-Token"],
                    expires=int(headers["X-Xet-Token-Expiration"]),
                    refresh_url=url,
                    refresh_headers=self._headers(),
                )
            except (KeyError, ValueError) as exc:
                msg = f"{label}: the Hub gave no access to its chunk store"
                raise DownloadFailed(msg) from exc

    @contextmanager
    def content(self, url: str, label: str, position: int, size: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Open a file of a known size; give the position where its bytes start, and the bytes.

        That position is the requested one, or 0 where the Hub ignores the range.
        """
        ranged = {"Range": f"bytes={position}-"} if position else {}
        with self._stream(url, label, {"Accept-Encoding": "identity", **ranged}) as response:
            start = position if response.status_code == _PARTIAL else 0
            if response.status_code not in (_OK, _PARTIAL):
                msg = f"{label}: the Hub answered {response.status_code}"
                raise DownloadFailed(msg)
            if start:
                found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if not found or (int(found[1]), int(found[3])) != (position, size):
                    msg = f"{label}: the Hub sent another part than the requested one"
                    raise DownloadFailed(msg)
            is_compressed = response.headers.get("Content-Encoding", "identity") != "identity"
            if is_compressed and start:
                msg = f"{label}: the Hub compressed a part of a file"
                raise DownloadFailed(msg)
            yield start, response.iter_bytes() if is_compressed else response.iter_raw()

    def _headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        headers: dict[str, str] = build_hf_headers(
            token=self._token, library_name="mlxknife", library_version=__version__
        )
        if not all(_HEADER_VALUE.fullmatch(value) for value in headers.values()):
            msg = "The token contains characters that a token cannot have"  # the message does not show the token
            raise HubAuthError(msg, hint=HintCode.CHECK_TOKEN)
        return headers

    @contextmanager
    def _stream(self, url: str, label: str, extra: dict[str, str]) -> Iterator[httpx2.Response]:
        headers = self._headers() | extra
        timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        with (
            errors.map_client_errors(label),
            get_session().stream("GET", url, headers=headers, timeout=timeout) as response,
        ):
            if response.status_code == _RANGE_NOT_SATISFIABLE and "Range" in extra:
                msg = f"{label}: the Hub has fewer bytes than it listed"
                raise DownloadFailed(msg)
            errors.raise_for_status(response, label, has_token="authorization" in headers)
            yield response

    def _checked_page(self, url: str) -> str:
        """Return the URL of a next page; one at another host is refused, because it would receive the token."""
        default = constants._HF_DEFAULT_ENDPOINT  # noqa: SLF001 - a mirror repeats the Hub's own URLs
        if self.endpoint != default and url.startswith(f"{default}/"):
            url = self.endpoint + url.removeprefix(default)
        if _host(url) != _host(self.endpoint):
            msg = f"The Hub's listing continues at another host: {url[:200]!a}"
            raise DownloadFailed(msg)
        return url


def _host(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of a URL, or None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    is_web = parts.scheme in ("http", "https") and parts.hostname
    return (parts.scheme, parts.hostname or "", port) if is_web else None
