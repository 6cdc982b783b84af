"""Removing models: what is on the disk, what is to go, and what went."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class StoredBlob:
    """A file of a repo's blob store. ``unfinished``: a download that is under way or was left behind."""

    name: str
    size: int
    unfinished: bool = False


@attrs.frozen
class BlobUse:
    """The blob store of one repo, and who needs what of it."""

    folder: str
    blobs: tuple[StoredBlob, ...]
    used_by: Mapping[str, frozenset[str]]
    """For every snapshot that is there, by commit, the blobs that its links lead to."""


@attrs.frozen
class TrashItem:
    """Something removed whose bytes are still on the disk. ``label`` says what it was."""

    token: str
    label: str
    size_bytes: int


@attrs.frozen
class RemovalTarget:
    """One thing that a removal is about: a repo, one snapshot of it, or a workspace."""

    name: str
    size_bytes: int
    folder: str | None = None
    """The repo's folder in the cache; None for a workspace."""
    commit: str | None = None
    """The one snapshot to remove; None for everything."""
    refs: tuple[str, ...] = ()
    """The refs that lead to that snapshot."""
    workspace: str | None = None
    """The folder of a workspace."""
    last_commit: str | None = None
    """The revision that was asked for, where it is the only one and its repo goes with it."""
    is_link: bool = False
    """Whether only a link goes, and what it leads to stays."""

    @property
    def label(self) -> str:
        """What to call it before a user."""
        commit = self.commit or self.last_commit
        return self.name if commit is None else f"{self.name}@{commit[:12]}"


@attrs.frozen
class RemovalPlan:
    """What a removal would do. ``confirmation_reason`` says why somebody should be asked first."""

    targets: tuple[RemovalTarget, ...]
    confirmation_reason: str | None = None
    needs_force: bool = False
    """Whether being asked is not enough."""

    @property
    def size_bytes(self) -> int:
        """The bytes that would go."""
        return sum(target.size_bytes for target in self.targets)


@attrs.frozen
class Orphan:
    """A blob of a model that nothing needs."""

    name: str
    folder: str
    blob: StoredBlob


@attrs.frozen
class Leftovers:
    """What nobody needs: blobs without a snapshot, partial downloads, and the trash of interrupted removals."""

    orphans: tuple[Orphan, ...]
    trash: tuple[TrashItem, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes that would go."""
        return sum(orphan.blob.size for orphan in self.orphans) + sum(item.size_bytes for item in self.trash)
