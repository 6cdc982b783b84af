"""A partial download: ``<etag>.incomplete`` grows from the front, and becomes the blob when its hash is right."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress

from mlxknife.adapters.hfcache import safe_files
from mlxknife.adapters.hfcache.layout import INCOMPLETE, blob_of_partial
from mlxknife.adapters.hfcache.safe_files import map_cache_errors
from mlxknife.adapters.hfcache.stamps import Identity, identity
from mlxknife.domain.errors import WrongBytes
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.transfer.values import RemoteFile
from mlxknife.ports.system.progress import Progress

_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MODE = 0o666
_CHUNK = 1024 * 1024


class PartialBlob:
    """The ``Sink`` of one file. Its owner holds the lock of the blob."""

    def __init__(self, blobs: str, file: RemoteFile, progress: Progress, *, force_download: bool = False) -> None:
        """Open the partial of an earlier download and hash it; start empty where there is none.

        ``force_download`` starts empty in any case. Raises StorageError, AccessDenied.
        """
        self._file = file
        self._progress = progress
        self._blob = f"{blobs}/{file.hash.digest}"
        self._path = self._blob + INCOMPLETE
        self.identity: Identity | None = None
        """How the blob looked when it was finished; None before that."""
        with map_cache_errors("stored"):
            self._handle = _open_regular(self._path)
            try:
                if force_download:
                    os.ftruncate(self._handle, 0)
                self._hash_present_bytes()
            except BaseException:
                os.close(self._handle)
                raise
        progress.begin_file(file.name, file.size, self.position)

    def close(self) -> None:
        """Close the file. Unfinished bytes stay for the next download; an empty partial is removed. Raises nothing."""
        if self.identity is None and self.position == 0:
            with suppress(OSError):
                os.unlink(self._path)
        os.close(self._handle)
        self._progress.end_file(self._file.name)

    def write(self, data: bytes) -> None:
        """See ``Sink.write``."""
        if self.position + len(data) > self._file.size:
            msg = f"{self._file.name}: more bytes came than the Hub listed ({self._file.size})"
            raise WrongBytes(msg)
        with map_cache_errors("stored"):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        self._hashing.update(data)
        self.position += len(data)
        self._progress.advance(len(data), self._file.name)

    def restart(self) -> None:
        """See ``Sink.restart``."""
        with map_cache_errors("stored"):
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
        self._progress.advance(-self.position, self._file.name)
        self._reset_hash()

    def finish(self) -> None:
        """See ``Sink.finish``."""
        digest = self._hashing.hexdigest()
        if self.position != self._file.size or digest != self._file.hash.digest:
            self.restart()
            msg = f"{self._file.name}: the bytes that came are not those that the Hub listed; none were kept"
            raise WrongBytes(msg, hint=HintCode.REPORT_TO_OWNER)
        with map_cache_errors("stored"):
            os.fsync(self._handle)
            safe_files.replace(self._path, self._blob)
            self.identity = identity(os.fstat(self._handle))

    def _hash_present_bytes(self) -> None:
        self._reset_hash()
        if os.fstat(self._handle).st_size > self._file.size:
            os.ftruncate(self._handle, 0)
        while chunk := os.read(self._handle, _CHUNK):
            self._hashing.update(chunk)
            self.position += len(chunk)

    def _reset_hash(self) -> None:
        self.position = 0
        self._hashing = _new_hash(self._file.hash, self._file.size)


def stale_partials(blobs: str) -> list[tuple[str, str]]:
    """Return every partial whose blob is complete, with that blob; empty where the folder cannot be listed."""
    try:
        names = set(os.listdir(blobs))
    except OSError:
        return []
    partials = ((name, blob_of_partial(name)) for name in sorted(names))
    return [(name, blob) for name, blob in partials if blob is not None and blob in names]


def _new_hash(recorded: RecordedHash, size: int) -> hashlib._Hash:
    """Return an empty hash of the recorded form, for a file of ``size`` bytes."""
    if recorded.algorithm is HashAlgorithm.SHA256:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def status_if_matching(path: str, recorded: RecordedHash) -> os.stat_result | None:
    """Hash a file; return its status, or None where the digest is not the recorded one. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        hashing = _new_hash(recorded, status.st_size)
        while chunk := os.read(handle, _CHUNK):
            hashing.update(chunk)
        return status if hashing.hexdigest() == recorded.digest else None
    finally:
        os.close(handle)


def _open_regular(path: str) -> int:
    """Open a file for writing that has no other name; anything else in its place is removed. Raises OSError."""
    with suppress(OSError):
        handle = os.open(path, _OPEN)
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return handle
        os.close(handle)
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, _MODE)
