"""Removing models from the cache: an interrupted removal loses nothing that was to stay, and stays visible."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.removal.values import BlobUse, Orphan, RemovalTarget, TrashItem


class RemovalStore(Protocol):
    """Moves what is removed into a trash inside the cache, and deletes it there.

    Every method may raise StorageError or AccessDenied when the filesystem refuses. What was done until then stays
    done, and a later ``empty_trash`` continues.
    """

    def lock_exclusive(self, folder: str) -> AbstractContextManager[None]:
        """Hold the lock of a repo alone. Raises LocksPresent while another process works on it."""
        ...

    def blob_use(self, folder: str) -> BlobUse:
        """Return the blobs of a repo and which of them each snapshot needs.

        A partial that another process writes to is left out. Links are read, never followed. Raises StorageError where
        a part of a snapshot cannot be read.
        """
        ...

    def is_busy(self, folder: str) -> bool:
        """Return whether a pull or a removal by another process is working on a repo."""
        ...

    def size_bytes(self, folder: str, commit: str | None = None) -> int:
        """Return the bytes of the regular files of a repo, or of one snapshot. Links count nothing. Raises nothing."""
        ...

    def discard(self, target: RemovalTarget) -> None:
        """Remove a repo, or one snapshot with its refs and the blobs that only it needs.

        It is moved into the trash in one rename, then deleted. Raises LocksPresent when a download began meanwhile;
        then nothing was removed. Raises ValueError for a target outside of the cache.
        """
        ...

    def discard_orphan(self, orphan: Orphan) -> bool:
        """Remove a blob, unless a snapshot needs it or another process downloads it; return whether it was removed."""
        ...

    def trash(self) -> tuple[TrashItem, ...]:
        """Return what interrupted removals left in the trash; empty when there is none. Raises nothing."""
        ...

    def empty_trash(self) -> None:
        """Finish interrupted removals. One that fails does not stop the others; its error is raised at the end."""
        ...
