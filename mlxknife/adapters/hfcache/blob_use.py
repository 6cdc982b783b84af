"""Which blobs a repo has, and which of them its snapshots need. Links are read, never followed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from mlxknife.adapters.hfcache import safe_files
from mlxknife.adapters.hfcache.layout import BLOBS, SNAPSHOTS, blob_of_partial
from mlxknife.adapters.hfcache.locks import RepoLocks
from mlxknife.domain.removal.values import BlobUse, StoredBlob


def read_blob_use(root: str, folder: str) -> BlobUse:
    """Return the blobs of a repo and, by commit, those that each snapshot links to. Raises OSError."""
    repo = f"{root}/{folder}"
    if os.path.islink(repo) or os.path.islink(f"{repo}/{BLOBS}"):
        return BlobUse(folder=folder, blobs=(), used_by={})  # what a link leads to does not belong to the repo
    snapshots = f"{repo}/{SNAPSHOTS}"
    return BlobUse(
        folder=folder,
        blobs=tuple(_stored_blobs(f"{repo}/{BLOBS}", RepoLocks(root, folder))),
        used_by={
            name: frozenset(linked_blobs(f"{snapshots}/{name}", f"{repo}/{BLOBS}")) for name in subfolders(snapshots)
        },
    )


def is_needed(root: str, folder: str, blob: str) -> bool:
    """Return whether a snapshot needs a blob; a snapshot that cannot be read counts as needing it. Raises nothing."""
    snapshots, blobs = (f"{root}/{folder}/{part}" for part in (SNAPSHOTS, BLOBS))
    try:
        return any(blob in linked_blobs(f"{snapshots}/{commit}", blobs) for commit in subfolders(snapshots))
    except OSError:
        return True


def linked_blobs(snapshot: str, blobs: str) -> Iterator[str]:
    """Yield the last part of the target of every link in a snapshot, and of every blob among them that is a link.

    Raises OSError where a part of the snapshot cannot be read: a link there could lead to any blob.
    """
    for folder, names in safe_files.walk(snapshot, _raise_unless_missing):
        for name in names:
            if (blob := _link_target(f"{folder}/{name}")) is not None:
                yield blob
                if (next_blob := _link_target(f"{blobs}/{blob}")) is not None:
                    yield next_blob


def subfolders(path: str) -> list[str]:
    """Return the names of the folders in a folder; empty where it is missing. Raises OSError, also for a link."""
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, "is a link, not a folder", path)
        with os.scandir(path) as found:
            return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _stored_blobs(path: str, locks: RepoLocks) -> Iterator[StoredBlob]:
    """Yield the blobs of a repo, without partials that another process writes to. Raises OSError."""
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        blob = blob_of_partial(entry.name)
        if entry.is_dir(follow_symlinks=False) or (blob is not None and locks.is_blob_locked(blob)):
            continue
        with contextlib.suppress(FileNotFoundError):  # finished or removed since the folder was listed
            size = entry.stat(follow_symlinks=False).st_size
            yield StoredBlob(name=entry.name, size=size, unfinished=blob is not None)


def _link_target(path: str) -> str | None:
    """Return the last part of the target of a link; None where there is no link. Raises OSError."""
    try:
        return os.readlink(path).rpartition("/")[2]
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return None
        raise


def _raise_unless_missing(exc: OSError) -> None:
    if exc.errno != errno.ENOENT:  # a folder that is gone needs no blob
        raise exc
