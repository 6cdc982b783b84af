"""Pulling models: what the Hub lists, what the cache has of it, and the plan for the difference."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.models.values.hashes import RecordedHash
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.starter import Starter


@attrs.frozen
class RemoteFile:
    """A file of a commit as the Hub lists it, with what is needed to download and verify it."""

    name: str
    size: int
    hash: RecordedHash
    git_oid: str
    """The git object id of the content, or of the LFS pointer."""
    xet_hash: str | None = None
    """The hash of the file in the Hub's chunk store (Xet), where it is stored there."""


@attrs.frozen
class RemoteCommit:
    """One commit of a model on the Hub, with every file."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...] = attrs.field(repr=False)


class CachedFileState(Enum):
    """What the cache has of a file."""

    VERIFIED = "verified"
    """The bytes were hashed, and the file has not changed since."""
    UNVERIFIED = "unverified"
    """A file of the right size that has not been hashed."""
    DAMAGED = "damaged"
    """The path holds something else."""
    MISSING = "missing"


@attrs.frozen
class CachedFile:
    """One file of a commit and its state in the cache."""

    file: RemoteFile
    state: CachedFileState
    location: Location | None = None
    """The folder of the cached bytes; ``name`` is the file in it."""
    name: str = ""
    identity: tuple[int, ...] = ()
    """Values that change when the file is written, such as inode, size and ctime."""
    is_linked: bool = False
    """Whether the snapshot links to it."""
    partial_bytes: int = 0
    """The bytes that an interrupted download left."""

    @property
    def is_verified(self) -> bool:
        """Whether the bytes are verified against the listed hash."""
        return self.state is CachedFileState.VERIFIED


class PullAction(Enum):
    """What a pull does with one file."""

    KEEP = "keep"
    FETCH = "fetch"
    REPAIR = "repair"


@attrs.frozen
class PullRequest:
    """The revision and the files of a model to pull."""

    revision: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    force: bool = False

    __repr__ = reprs.fields


@attrs.frozen
class PullPlan:
    """The steps of a pull."""

    name: str
    folder: str
    is_expanded: bool
    """Whether the owner was added to the given name."""
    commit: RemoteCommit
    cached_files: tuple[CachedFile, ...] = ()
    """The selected files and their state in the cache."""
    ref: str | None = None
    """The branch or tag to set to the commit."""
    is_in_place: bool = False
    """Whether snapshot and ref are up to date."""
    was_hashed: bool = False
    """Whether the plan hashed cached files."""
    is_forced: bool = False
    is_offline: bool = False
    """Whether the plan was made from the cache alone."""

    def __repr__(self) -> str:
        """Return the model, and how much is to be downloaded."""
        commit, files = self.commit.commit[:12], len(self.missing)
        return reprs.call(self, name=self.name, commit=commit, missing=files, bytes_to_fetch=self.bytes_to_fetch)

    def action(self, cached: CachedFile) -> PullAction:
        """Return the action for one file."""
        if self.is_forced or not cached.is_verified:
            return PullAction.REPAIR if cached.state is CachedFileState.DAMAGED else PullAction.FETCH
        return PullAction.KEEP

    @property
    def missing(self) -> tuple[CachedFile, ...]:
        """The files to download."""
        return tuple(cached for cached in self.cached_files if self.action(cached) is not PullAction.KEEP)

    @property
    def is_done(self) -> bool:
        """Whether the cache needs no change."""
        return self.is_in_place and not self.missing

    @property
    def total_bytes(self) -> int:
        """The size of all selected files."""
        return sum(cached.file.size for cached in self.cached_files)

    @property
    def bytes_to_fetch(self) -> int:
        """The number of bytes to download; identical files count once."""
        blobs = {cached.file.hash: cached for cached in self.missing}.values()
        return sum(cached.file.size - (0 if self.is_forced else cached.partial_bytes) for cached in blobs)


@attrs.frozen
class StarterPlan:
    """The steps of pulling a starter model."""

    starter: Starter
    is_in_place: bool = False
    """Whether the workspace exists and is intact."""
    replaces: str | None = None
    """The folder of a damaged workspace to replace."""
    reason: str | None = None
    """The damage of the workspace to replace."""

    __repr__ = reprs.fields

    @property
    def bytes_to_fetch(self) -> int:
        """The number of bytes to download."""
        return 0 if self.is_in_place else self.starter.wheel_bytes
