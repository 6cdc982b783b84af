"""The file listing of a commit, ``trees/<commit>.json``, in the format of huggingface_hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedFile, RecordedHash

if TYPE_CHECKING:  # listing models needs no transfer
    from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile

_VERSION = 1


class TreeEntry(msgspec.Struct, omit_defaults=True):
    """One file of a listing."""

    size: int
    blob_id: str | None = None
    lfs_sha256: str | None = None
    lfs_size: int | None = None
    xet_hash: str | None = None

    def recorded(self) -> RecordedFile:
        """Return the size and the hash of the content; for an LFS file ``blob_id`` would be the hash of its pointer."""
        if self.lfs_sha256 is not None:
            return RecordedFile(self.size, RecordedHash(HashAlgorithm.SHA256, self.lfs_sha256))
        if self.blob_id is not None:
            return RecordedFile(self.size, RecordedHash(HashAlgorithm.GIT_SHA1, self.blob_id))
        return RecordedFile(self.size)


class Tree(msgspec.Struct):
    """A whole listing."""

    files: dict[str, TreeEntry]
    format_version: int = _VERSION


def decode(data: bytes) -> Mapping[str, RecordedFile] | None:
    """Return the files of a listing by name, or None where it cannot be decoded. Raises nothing."""
    try:
        files = msgspec.json.decode(data, type=Tree).files
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return {name: entry.recorded() for name, entry in files.items()}


def encode(commit: RemoteCommit) -> bytes:
    """Return the listing of a commit as ``trees/<commit>.json`` stores it."""
    return msgspec.json.encode(
        {"format_version": _VERSION, "files": {file.name: _entry(file) for file in commit.files}}
    )


def _entry(file: RemoteFile) -> TreeEntry:
    is_lfs = file.hash.algorithm is HashAlgorithm.SHA256
    return TreeEntry(
        size=file.size,
        blob_id=file.git_oid,
        lfs_sha256=file.hash.digest if is_lfs else None,
        lfs_size=file.size if is_lfs else None,
        xet_hash=file.xet_hash,
    )
