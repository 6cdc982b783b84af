"""Talking HTTP with the Hub: small answers whole, files piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_session
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented, and exported lazily

from mlxknife.adapters.hub import refusals
from mlxknife.adapters.hub.chunks import Access
from mlxknife.domain.errors import DownloadFailed, HubAuthError
from mlxknife.domain.hints import HintCode
from mlxknife.version import __version__

_MAX_ANSWER = 64 * 1024 * 1024
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_HEADER = re.compile(r"[\x20-\x7e]*")
_PARTIAL, _OK, _BEYOND_THE_END = 206, 200, 416


class Web:
    """One Hub, with the token of the user where there is one."""

    def __init__(self, endpoint: str | None, token: str | None) -> None:
        """Take where the Hub is and whom to say one is; by default what huggingface_hub finds in the surroundings."""
        constants.HF_HUB_DISABLE_TELEMETRY = True  # else it asks the Hub which agent runs it, and tells of torch
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._token = token

    def answer(self, url: str, what: str) -> tuple[bytes, str | None]:
        """Return the body of an answer of the API, and the address of its next page.

        Raises TryAgain, and the errors of ``ports.hub``.
        """
        with self._response(url, what, {}) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MAX_ANSWER:
                    msg = f"{what}: the Hub's answer does not end"
                    raise DownloadFailed(msg)
            following = response.links.get("next", {}).get("url")
        return bytes(body), self._own_page(following) if following else None

    def chunk_access(self, url: str, what: str) -> Access:
        """Return the way into the chunk store. Raises what ``answer`` raises."""
        with self._response(url, what, {}) as response:
            said = response.headers
            try:
                return Access(
                    endpoint=said["X-Xet-Cas-Url"],
                    token=said["X-Xet-Access-Token"],
                    expires=int(said["X-Xet-Token-Expiration"]),
                    refresh_url=url,
                    refresh_headers=self._headers(),
                )
            except (KeyError, ValueError) as exc:
                msg = f"{what}: the Hub gave no way to its chunk store"
                raise DownloadFailed(msg) from exc

    @contextmanager
    def content(self, url: str, what: str, position: int, size: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Open a file of a known size; give where its bytes begin, which is the position asked for or 0.

        Raises TryAgain, and the errors of ``ports.hub``.
        """
        ranged = {"Range": f"bytes={position}-"} if position else {}
        with self._response(url, what, {"Accept-Encoding": "identity", **ranged}) as response:
            begins = position if response.status_code == _PARTIAL else 0
            if response.status_code not in (_OK, _PARTIAL):
                msg = f"{what}: the Hub answered {response.status_code}"
                raise DownloadFailed(msg)
            if begins:
                found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if not found or (int(found[1]), int(found[3])) != (position, size):
                    msg = f"{what}: the Hub sent another part than it was asked for"
                    raise DownloadFailed(msg)
            is_packed = response.headers.get("Content-Encoding", "identity") != "identity"
            if is_packed and begins:
                msg = f"{what}: the Hub packed a part of a file"
                raise DownloadFailed(msg)
            yield begins, response.iter_bytes() if is_packed else response.iter_raw()

    def _headers(self) -> dict[str, str]:
        """Return what every request carries."""
        headers: dict[str, str] = build_hf_headers(
            token=self._token, library_name="mlxknife", library_version=__version__
        )
        if not all(_HEADER.fullmatch(value) for value in headers.values()):
            msg = "The token holds characters that no token has"  # it is shown to nobody
            raise HubAuthError(msg, hint=HintCode.CHECK_TOKEN)
        return headers

    @contextmanager
    def _response(self, url: str, what: str, extra: dict[str, str]) -> Iterator[httpx2.Response]:
        headers = self._headers() | extra
        timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        with (
            refusals.our_errors(what),
            get_session().stream("GET", url, headers=headers, timeout=timeout) as response,
        ):
            if response.status_code == _BEYOND_THE_END and "Range" in extra:
                msg = f"{what}: the Hub has fewer bytes than it listed"
                raise DownloadFailed(msg)
            refusals.check(response, what, has_token="authorization" in headers)
            yield response

    def _own_page(self, url: str) -> str:
        """Return the address of a next page, refusing to carry the token to another host."""
        default = constants._HF_DEFAULT_ENDPOINT  # noqa: SLF001 - a mirror repeats the Hub's own addresses
        if self.endpoint != default and url.startswith(f"{default}/"):
            url = self.endpoint + url.removeprefix(default)
        if _host(url) != _host(self.endpoint):
            msg = f"The Hub's listing goes on at another host: {url[:200]!a}"
            raise DownloadFailed(msg)
        return url


def _host(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of an address, or None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    is_web = parts.scheme in ("http", "https") and parts.hostname
    return (parts.scheme, parts.hostname or "", port) if is_web else None
