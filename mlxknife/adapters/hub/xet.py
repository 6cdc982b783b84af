"""Downloads from the Hub's chunk store (Xet) with hf_xet: the bytes of a file from any position on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any

import attrs

from mlxknife.domain.transfer.values import RemoteFile

_SCHEMES = ("https://", "http://")
_CONFIG = {
    "reconstruction.download_buffer_size": 32_000_000,
    "reconstruction.download_buffer_perfile_size": 8_000_000,
    "reconstruction.download_buffer_limit": 48_000_000,
    "reconstruction.min_prefetch_buffer": 16_000_000,
    "client.retry_max_attempts": 2,
    "client.retry_base_delay": "500ms",
    "client.connect_timeout": "10s",
    "client.read_timeout": "30s",
    "telemetry.enabled": False,
}
"""Small buffers, short waits and no telemetry; hf_xet's defaults take gigabytes and minutes, and report transfers."""


class XetError(Exception):
    """The chunk store cannot be used; the file is downloaded over plain HTTP."""


@attrs.frozen
class XetAccess:
    """Access to the chunk store: its address, a token with its expiry, and where to get the next token."""

    endpoint: str
    token: str
    expires: int
    refresh_url: str
    refresh_headers: Mapping[str, str]


class XetStore:
    """One connection to the chunk store, opened when it is first needed."""

    def __init__(self, get_access: Callable[[], XetAccess], schemes: tuple[str, ...] = _SCHEMES) -> None:
        """Take the function that gets access from the Hub, and the URL schemes that are allowed.

        The Hub chooses the address. hf_xet would accept a folder of this machine as one, so schemes are limited.
        """
        self._get_access = get_access
        self._schemes = schemes
        self._lock = threading.Lock()
        self._group: Any = None  # hf_xet has no types
        self._has_failed = False

    def stream(self, file: RemoteFile, position: int) -> Generator[bytes]:
        """Yield the bytes of a file from a position on.

        Raises XetError on any failure, and from then on for every file, so that the wait for a timeout comes only once.
        """
        if self._has_failed:
            raise XetError
        try:
            import hf_xet  # noqa: PLC0415 - not available on every platform

            info = hf_xet.XetFileInfo(file.xet_hash, file.size)
            for chunk in self._connect(hf_xet).download_stream(info, start=position or None):
                position += len(chunk)
                yield chunk
        except Exception as exc:  # hf_xet raises undocumented types
            self._has_failed = True
            raise XetError from exc
        if position < file.size:  # for a file that it refuses or does not know, hf_xet may end the stream silently
            self._has_failed = True
            raise XetError

    def _connect(self, hf_xet: Any) -> Any:  # noqa: ANN401 - hf_xet has no types
        with self._lock:
            if self._has_failed:
                raise XetError
            if self._group is None:
                access = self._get_access()
                if not access.endpoint.startswith(self._schemes):
                    raise XetError
                session = hf_xet.XetSession(hf_xet.XetConfig().with_config(_CONFIG))
                self._group = session.new_download_stream_group(
                    endpoint=access.endpoint,
                    token=access.token,
                    token_expiry_unix_secs=access.expires,
                    token_refresh_url=access.refresh_url,
                    token_refresh_headers=dict(access.refresh_headers),
                )
            return self._group
