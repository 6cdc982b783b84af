"""Taking models into the cache, so that being stopped at any moment shows nothing that is not true."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.transfer.values import CachedFile, RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sinks
from mlxknife.ports.system.progress import Progress


class SnapshotPublisher(Sinks, Protocol):
    """Takes in one commit of one model: first blobs, by its sinks, that nobody sees yet; then all of them at once."""

    def publish(self, commit: RemoteCommit, cached_files: Sequence[CachedFile], ref: str | None) -> None:
        """Let the snapshot lead to every file that is held or came, in one step where it is new; at last move the ref.

        Remembers the listing of the commit, and which files were proven. Raises DownloadFailed when a blob that is
        needed is not there.
        """
        ...


class DownloadStore(Protocol):
    """Knows what the cache holds of a commit, and receives the rest.

    Every method may raise StorageError or AccessDenied when the filesystem refuses; what there was before is still
    there then.
    """

    def guarded(
        self, folder: str, progress: Progress | None = None, *, waits: bool = True
    ) -> AbstractContextManager[None]:
        """Keep removals of ours away from a repo, having waited for one that is under way. Others may take in, too.

        Raises LocksPresent where it is not to wait, StorageError for a repo that is only a link.
        """
        ...

    def cached_files(self, folder: str, commit: str, files: Sequence[RemoteFile]) -> tuple[CachedFile, ...]:
        """Return what the cache has of files of a commit, in their order. Changes nothing."""
        ...

    def is_untidy(self, folder: str) -> bool:
        """Tell whether somebody who was stopped left something, which the next to publish clears up."""
        ...

    def free_bytes(self) -> int:
        """Return how much fits on the disk of the cache."""
        ...

    def reception(self, folder: str, progress: Progress, *, afresh: bool) -> SnapshotPublisher:
        """Return what takes a model in; ``afresh`` replaces even blobs that are right."""
        ...
