"""Downloads into the cache: an interrupted download shows no model that is not complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.transfer.values import CachedFile, RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sinks
from mlxknife.ports.system.progress import Progress


class SnapshotPublisher(Sinks, Protocol):
    """Downloads and publishes one commit of one model.

    Its sinks write blobs, which no snapshot links to yet. ``publish`` then makes all of them visible at once.
    """

    def publish(self, commit: RemoteCommit, cached_files: Sequence[CachedFile], ref: str | None) -> None:
        """Link every file of ``cached_files`` into the snapshot of ``commit``, then point ``ref`` at it, if given.

        A new snapshot appears in one step. The listing of the commit and the stamps of verified files are stored, too.
        Raises DownloadFailed when a blob is missing, StorageError, AccessDenied.
        """
        ...


class DownloadStore(Protocol):
    """Knows which files of a commit the cache holds, and stores the missing ones.

    Every method may raise StorageError or AccessDenied when the filesystem refuses; no stored model changes then.
    """

    def lock_shared(
        self, folder: str, progress: Progress | None = None, *, waits: bool = True
    ) -> AbstractContextManager[None]:
        """Hold the lock of a repo together with other pulls, so that no removal begins.

        It waits for a removal that is running, and reports a long wait to ``progress``. With ``waits=False`` it raises
        LocksPresent instead. Raises StorageError for a repo that is a link.
        """
        ...

    def cached_files(self, folder: str, commit: str, files: Sequence[RemoteFile]) -> tuple[CachedFile, ...]:
        """Return what the cache has of each file of a commit, in the order of ``files``. Changes nothing."""
        ...

    def has_listing(self, folder: str, commit: str) -> bool:
        """Return whether the listing of a commit is stored, as ``publish`` leaves it."""
        ...

    def has_leftovers(self, folder: str) -> bool:
        """Return whether an interrupted download left files that the next ``publish`` deletes."""
        ...

    def free_bytes(self) -> int:
        """Return the free space on the disk of the cache."""
        ...

    def publisher(self, folder: str, progress: Progress, *, force_download: bool) -> SnapshotPublisher:
        """Return the publisher of a repo; ``force_download`` replaces even blobs that are right."""
        ...
