"""What the Hub's API says of a commit, decoded strictly: it comes from outside."""

from __future__ import annotations

import re
from typing import Literal, TypeVar

import msgspec

from mlxknife.domain.errors import DownloadFailed
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.transfer.values import RemoteFile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")

_Type = TypeVar("_Type")


class Info(msgspec.Struct):
    """A model at a revision."""

    sha: str


class Lfs(msgspec.Struct):
    """The content behind an LFS pointer."""

    oid: str
    size: int


class Entry(msgspec.Struct, rename={"xet_hash": "xetHash"}):
    """A file or folder of a tree."""

    path: str
    oid: str
    type: Literal["file", "directory"]
    size: int = 0
    lfs: Lfs | None = None
    xet_hash: str | None = None


def decode(data: bytes, form: type[_Type]) -> _Type:
    """Return an answer of the API in its form. Raises DownloadFailed for anything else."""
    try:
        return msgspec.json.decode(data, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        msg = f"The Hub's answer cannot be understood: {exc}"
        raise DownloadFailed(msg, hint=HintCode.CHECK_ENDPOINT) from exc


def checked_commit(text: str) -> str:
    """Return a commit that is one. Raises DownloadFailed."""
    if not _GIT_SHA1.fullmatch(text):
        msg = f"The Hub's answer cannot be right: {text[:80]!a} is no commit"
        raise DownloadFailed(msg)
    return text


def remote_file(entry: Entry) -> RemoteFile:
    """Return a file of a tree; its hashes are hashes. Raises DownloadFailed."""
    if not _GIT_SHA1.fullmatch(entry.oid):
        raise _no_hash(entry.path, entry.oid)
    if entry.lfs is None:
        digest = RecordedHash(HashAlgorithm.GIT_SHA1, entry.oid)
        return RemoteFile(name=entry.path, size=entry.size, hash=digest, git_oid=entry.oid)
    if not _SHA256.fullmatch(entry.lfs.oid):
        raise _no_hash(entry.path, entry.lfs.oid)
    return RemoteFile(
        name=entry.path,
        size=entry.lfs.size,
        hash=RecordedHash(HashAlgorithm.SHA256, entry.lfs.oid),
        git_oid=entry.oid,
        xet_hash=entry.xet_hash if entry.xet_hash and _SHA256.fullmatch(entry.xet_hash) else None,
    )


def _no_hash(path: str, text: str) -> DownloadFailed:
    return DownloadFailed(f"The Hub's answer cannot be right: {text[:80]!a} is no hash, for {path[:200]!a}")
