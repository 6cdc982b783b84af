"""A removal store in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs

from mlxknife.domain.errors import AccessDenied, LocksPresent, StorageError
from mlxknife.domain.removal.values import BlobUse, Orphan, RemovalTarget, StoredBlob, TrashItem

_UNFINISHED = ".incomplete"


@attrs.frozen
class StoredRepo:
    """A repo: ``snapshots`` map files to blobs by commit, ``plain`` are the bytes of files that are no links."""

    blobs: Mapping[str, int] = attrs.field(factory=dict)
    snapshots: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    refs: Mapping[str, str] = attrs.field(factory=dict)
    plain: Mapping[str, int] = attrs.field(factory=dict)


@attrs.define
class FakeRemovalStore:
    """Implements ``RemovalStore``. ``locks`` are the blobs that are being downloaded, by folder and etag."""

    repos: dict[str, StoredRepo] = attrs.field(factory=dict)
    locks: set[tuple[str, str]] = attrs.field(factory=set)
    interrupted: list[TrashItem] = attrs.field(factory=list)
    is_denied: bool = False
    locked: list[str] = attrs.field(factory=list)
    """The folders that are locked at this moment."""

    @contextmanager
    def lock_exclusive(self, folder: str) -> Iterator[None]:
        self._check(folder)
        self.locked.append(folder)
        try:
            yield
        finally:
            self.locked.remove(folder)

    def blob_use(self, folder: str) -> BlobUse:
        self._permit()
        repo = self.repos.get(folder, StoredRepo())
        return BlobUse(
            folder=folder,
            blobs=tuple(
                StoredBlob(name, size, name.endswith(_UNFINISHED))
                for name, size in repo.blobs.items()
                if not (name.endswith(_UNFINISHED) and (folder, name.partition(".")[0]) in self.locks)
            ),
            used_by={commit: frozenset(files.values()) for commit, files in repo.snapshots.items()},
        )

    def is_busy(self, folder: str) -> bool:
        self._permit()
        return folder in self.locked

    def size_bytes(self, folder: str, commit: str | None = None) -> int:
        repo = self.repos.get(folder, StoredRepo())
        if commit is not None:
            return repo.plain.get(commit, 0)
        return sum(repo.blobs.values()) + sum(repo.plain.values())

    def discard(self, target: RemovalTarget) -> None:
        if target.folder is None:
            msg = "Not in the cache"
            raise ValueError(msg)
        self._permit()
        repo = self.repos.get(target.folder)
        if repo is None or (target.commit is not None and target.commit not in repo.snapshots):
            msg = "It does not exist"
            raise StorageError(msg)
        if target.commit is None:
            self._check(target.folder)
            del self.repos[target.folder]
            return
        self.repos[target.folder] = attrs.evolve(
            repo,
            refs={name: commit for name, commit in repo.refs.items() if name not in target.refs},
            snapshots={commit: files for commit, files in repo.snapshots.items() if commit != target.commit},
            plain={commit: size for commit, size in repo.plain.items() if commit != target.commit},
        )
        for name in set(repo.snapshots[target.commit].values()):
            self._drop(target.folder, name)

    def discard_orphan(self, orphan: Orphan) -> bool:
        self._permit()
        return self._drop(orphan.folder, orphan.blob.name)

    def trash(self) -> tuple[TrashItem, ...]:
        return tuple(self.interrupted)

    def empty_trash(self) -> None:
        self._permit()
        self.interrupted.clear()

    def _drop(self, folder: str, name: str) -> bool:
        repo = self.repos.get(folder, StoredRepo())
        is_needed = any(name in files.values() for files in repo.snapshots.values())
        if name not in repo.blobs or is_needed or (folder, name.partition(".")[0]) in self.locks:
            return False
        left = {other: size for other, size in repo.blobs.items() if other != name}
        self.repos[folder] = attrs.evolve(repo, blobs=left)
        return True

    def _check(self, folder: str) -> None:
        live = tuple(sorted(f".locks/{folder}/{etag}.lock" for locked, etag in self.locks if locked == folder))
        if live:
            msg = "A download is running"
            raise LocksPresent(msg, lock_files=live)

    def _permit(self) -> None:
        if self.is_denied:
            msg = "Permission denied"
            raise AccessDenied(msg)
