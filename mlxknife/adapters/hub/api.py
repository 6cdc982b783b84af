"""Responses of the Hub's API, decoded strictly: what has the wrong form is refused."""

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


class ApiRevision(msgspec.Struct):
    """``/api/models/<name>/revision/<revision>``: a model at a revision."""

    sha: str


class ApiModel(msgspec.Struct):
    """One entry of ``/api/models``: a model that matches a search."""

    id: str


class ApiLfs(msgspec.Struct):
    """The content behind an LFS pointer."""

    oid: str
    size: int


class ApiTreeEntry(msgspec.Struct, rename={"xet_hash": "xetHash"}):
    """One entry of ``/api/models/<name>/tree/<commit>``: a file or a folder."""

    path: str
    oid: str
    type: Literal["file", "directory"]
    size: int = 0
    lfs: ApiLfs | None = None
    xet_hash: str | None = None


def decode(data: bytes, form: type[_Type]) -> _Type:
    """Return a response decoded as ``form``. Raises DownloadFailed for anything else."""
    try:
        return msgspec.json.decode(data, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        msg = f"The Hub's answer cannot be decoded: {exc}"
        raise DownloadFailed(msg, hint=HintCode.CHECK_ENDPOINT) from exc


def checked_commit(text: str) -> str:
    """Return ``text`` where it is a commit hash. Raises DownloadFailed."""
    if not _GIT_SHA1.fullmatch(text):
        msg = f"The Hub's answer is invalid: {text[:80]!a} is not a commit"
        raise DownloadFailed(msg)
    return text


def remote_file(entry: ApiTreeEntry) -> RemoteFile:
    """Return the file of a tree entry. Raises DownloadFailed where a hash is none."""
    if not _GIT_SHA1.fullmatch(entry.oid):
        raise _invalid_hash(entry.path, entry.oid)
    if entry.lfs is None:
        digest = RecordedHash(HashAlgorithm.GIT_SHA1, entry.oid)
        return RemoteFile(name=entry.path, size=entry.size, hash=digest, git_oid=entry.oid)
    if not _SHA256.fullmatch(entry.lfs.oid):
        raise _invalid_hash(entry.path, entry.lfs.oid)
    return RemoteFile(
        name=entry.path,
        size=entry.lfs.size,
        hash=RecordedHash(HashAlgorithm.SHA256, entry.lfs.oid),
        git_oid=entry.oid,
        xet_hash=entry.xet_hash if entry.xet_hash and _SHA256.fullmatch(entry.xet_hash) else None,
    )


def _invalid_hash(path: str, text: str) -> DownloadFailed:
    return DownloadFailed(f"The Hub's answer is invalid: {text[:80]!a} is not a hash, for {path[:200]!a}")
