"""Removing models: what is on the disk, what a removal plans and what it freed."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain import reprs


@attrs.frozen
class StoredBlob:
    """A file of a repo's blob store. ``unfinished``: a partial download, active or interrupted."""

    name: str
    size: int
    unfinished: bool = False


@attrs.frozen
class BlobUse:
    """The blobs of one repo, and the snapshots that use them."""

    folder: str
    blobs: tuple[StoredBlob, ...]
    used_by: Mapping[str, frozenset[str]]
    """The blobs that each snapshot links to, by commit."""


@attrs.frozen
class TrashItem:
    """A removed folder or file whose bytes are still on the disk. ``label`` describes it."""

    token: str
    label: str
    size_bytes: int


@attrs.frozen
class RemovalTarget:
    """One object to remove: a repo, one of its snapshots, or a workspace."""

    name: str
    size_bytes: int
    folder: str | None = None
    """The repo's folder in the cache; None for a workspace."""
    commit: str | None = None
    """The snapshot to remove; None for the whole repo."""
    refs: tuple[str, ...] = ()
    """The refs that point to that snapshot."""
    workspace: str | None = None
    """The folder of a workspace."""
    last_commits: tuple[str, ...] = ()
    """The requested revisions, when they are all that the repo has, so that it is removed with them."""
    is_link: bool = False
    """Whether only a link is removed, and its target stays."""

    @property
    def label(self) -> str:
        """The name for messages."""
        return self.name if self.revision is None else f"{self.name}@{self.revision[:12]}"

    @property
    def revision(self) -> str | None:
        """The requested revision; None where the whole model or several of its revisions were requested."""
        return self.commit or (self.last_commits[0] if len(self.last_commits) == 1 else None)


@attrs.frozen
class RemovalPlan:
    """The objects of a removal. ``confirmation_reason`` is why the user should confirm it first."""

    targets: tuple[RemovalTarget, ...]
    confirmation_reason: str | None = None
    needs_force: bool = False
    """Whether a confirmation is not enough, and only force allows it."""

    def __repr__(self) -> str:
        """Return what is removed, and how much it frees."""
        return reprs.call(self, targets=tuple(target.label for target in self.targets), size_bytes=self.size_bytes)

    @property
    def size_bytes(self) -> int:
        """The number of bytes to free."""
        return sum(target.size_bytes for target in self.targets)


@attrs.frozen
class Orphan:
    """A blob that no snapshot uses."""

    name: str
    folder: str
    blob: StoredBlob


@attrs.frozen
class Leftovers:
    """Unused data: blobs without a snapshot, partial downloads, and the trash of interrupted removals."""

    orphans: tuple[Orphan, ...]
    trash: tuple[TrashItem, ...]

    @property
    def size_bytes(self) -> int:
        """The number of bytes to free."""
        return sum(orphan.blob.size for orphan in self.orphans) + sum(item.size_bytes for item in self.trash)
