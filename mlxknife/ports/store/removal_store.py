"""Taking models out of the cache, so that being stopped at any moment loses nothing and hides nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.removal.values import BlobUse, Orphan, RemovalTarget, TrashItem


class RemovalStore(Protocol):
    """Moves what is to go into a trash inside the cache first, and deletes it there.

    Every method may raise StorageError or AccessDenied when the filesystem refuses; what was done until then stays
    done, and a later ``empty_trash`` goes on.
    """

    def guarded(self, folder: str) -> AbstractContextManager[None]:
        """Hold a repo against other writers. Raises LocksPresent while another process works on it."""
        ...

    def blob_use(self, folder: str) -> BlobUse:
        """Return the blobs of a repo and what its snapshots need; a partial that somebody writes to is not among them.

        Links are read, never followed. Where a part of a snapshot cannot be looked at, nothing is returned.
        """
        ...

    def is_busy(self, folder: str) -> bool:
        """Tell whether another process of ours takes something into a repo, or out of it, at this moment."""
        ...

    def size_bytes(self, folder: str, commit: str | None = None) -> int:
        """Return the bytes of a repo, or of the plain files of one snapshot, each link as small as it is."""
        ...

    def discard(self, target: RemovalTarget) -> None:
        """Remove a repo, or one snapshot with the blobs that only it needs: one rename into the trash, then the bytes.

        Raises LocksPresent when a download began meanwhile; then everything is as it was.
        """
        ...

    def discard_orphan(self, orphan: Orphan) -> bool:
        """Remove one blob unless somebody downloads it or began to need it; say whether it went."""
        ...

    def trash(self) -> tuple[TrashItem, ...]:
        """Return what is in the trash; empty when there is none. Raises nothing."""
        ...

    def empty_trash(self) -> None:
        """Finish what interrupted removals left, as far as it goes; raises for what cannot go at the end."""
        ...
