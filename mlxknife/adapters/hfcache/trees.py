"""Listings of commits, ``trees/<commit>.json``, as huggingface_hub keeps them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedFile, RecordedHash
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
        """Return the entry as the domain knows it; the blob id of an LFS file is that of its pointer."""
        if self.lfs_sha256 is not None:
            return RecordedFile(self.size, RecordedHash(HashAlgorithm.SHA256, self.lfs_sha256))
        if self.blob_id is not None:
            return RecordedFile(self.size, RecordedHash(HashAlgorithm.GIT_SHA1, self.blob_id))
        return RecordedFile(self.size)


class Tree(msgspec.Struct):
    """A listing."""

    files: dict[str, TreeEntry]
    format_version: int = _VERSION


def decode(data: bytes) -> Mapping[str, RecordedFile] | None:
    """Return what a listing says, or None when it says nothing that can be understood."""
    try:
        files = msgspec.json.decode(data, type=Tree).files
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return {name: entry.recorded() for name, entry in files.items()}


def encode(commit: RemoteCommit) -> bytes:
    """Return the listing of a commit as it is stored."""
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
