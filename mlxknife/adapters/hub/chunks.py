"""The Hub's chunk store (Xet): files put together from chunks that many files share, from any byte on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any

import attrs

from mlxknife.domain.transfer.values import RemoteFile

_SCHEMES = ("https://", "http://")
_MANNERS = {
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
"""What keeps memory flat, waits short, and silence; its own defaults take gigabytes, minutes, and report transfers."""


class ChunkStoreError(Exception):
    """The chunk store cannot be used; plain HTTP has to do."""


@attrs.frozen
class Access:
    """The way into the chunk store: where it is, and a token with the end of its time and the way to a new one."""

    endpoint: str
    token: str
    expires: int
    refresh_url: str
    refresh_headers: Mapping[str, str]


class ChunkStore:
    """One connection to the chunk store, opened when it is first needed."""

    def __init__(self, ask_for_access: Callable[[], Access], schemes: tuple[str, ...] = _SCHEMES) -> None:
        """Take who gives access, and to which addresses.

        The Hub names the address, and hf_xet would take a folder of this machine for one.
        """
        self._ask_for_access = ask_for_access
        self._schemes = schemes
        self._lock = threading.Lock()
        self._group: Any = None  # hf_xet has no types
        self._has_failed = False

    def stream(self, file: RemoteFile, position: int) -> Generator[bytes]:
        """Yield the bytes of a file from a position on.

        Raises ChunkStoreError, and from then on for every file: plain HTTP works, and waiting twice helps nobody.
        """
        if self._has_failed:
            raise ChunkStoreError
        try:
            import hf_xet  # noqa: PLC0415 - not there on every platform

            info = hf_xet.XetFileInfo(file.xet_hash, file.size)
            for chunk in self._connected(hf_xet).download_stream(info, start=position or None):
                position += len(chunk)
                yield chunk
        except Exception as exc:  # hf_xet raises what it likes
            self._has_failed = True
            raise ChunkStoreError from exc
        if position < file.size:  # what it does not know, or may not have, can end without a word
            self._has_failed = True
            raise ChunkStoreError

    def _connected(self, hf_xet: Any) -> Any:  # noqa: ANN401 - hf_xet has no types
        with self._lock:
            if self._has_failed:
                raise ChunkStoreError
            if self._group is None:
                access = self._ask_for_access()
                if not access.endpoint.startswith(self._schemes):
                    raise ChunkStoreError
                session = hf_xet.XetSession(hf_xet.XetConfig().with_config(_MANNERS))
                self._group = session.new_download_stream_group(
                    endpoint=access.endpoint,
                    token=access.token,
                    token_expiry_unix_secs=access.expires,
                    token_refresh_url=access.refresh_url,
                    token_refresh_headers=dict(access.refresh_headers),
                )
            return self._group
