"""Bringing models: what the Hub has, what the cache holds of it already, and what to do about the difference."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain.models.values.hashes import RecordedHash
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.starter import Starter


@attrs.frozen
class RemoteFile:
    """A file of a commit as the Hub lists it: enough to fetch it and to prove it."""

    name: str
    size: int
    hash: RecordedHash
    git_oid: str
    """The git object: of the content, or of the pointer where the content is in LFS."""
    xet_hash: str | None = None
    """The name of the content in the Hub's chunk store, where it is in there."""


@attrs.frozen
class RemoteCommit:
    """One commit of a model on the Hub, with every file."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]


class CachedFileState(Enum):
    """How far the cache holds a file already."""

    VERIFIED = "trusted"
    """Its bytes were hashed, and nothing wrote to the file since."""
    UNVERIFIED = "unproven"
    """A file of the right size that nobody hashed yet."""
    DAMAGED = "damaged"
    """Something else is in its place."""
    MISSING = "missing"


@attrs.frozen
class CachedFile:
    """What the cache has for one file of the Hub."""

    file: RemoteFile
    state: CachedFileState
    location: Location | None = None
    """Where the bytes are, to be hashed, with ``name``."""
    name: str = ""
    identity: tuple[int, ...] = ()
    """What changes when somebody writes to the file."""
    is_linked: bool = False
    """Whether the snapshot leads to it."""
    partial_bytes: int = 0
    """How much of a download that was broken off is there."""

    @property
    def is_right(self) -> bool:
        """Whether the bytes are known to be those of the Hub."""
        return self.state is CachedFileState.VERIFIED


class PullAction(Enum):
    """What a pull does about one file."""

    KEEP = "keep"
    FETCH = "fetch"
    REPAIR = "repair"


@attrs.frozen
class PullRequest:
    """What somebody wants of a model."""

    revision: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    force: bool = False


@attrs.frozen
class PullPlan:
    """What a pull would do."""

    name: str
    folder: str
    is_expanded: bool
    """Whether the owner was added to the name that was asked for."""
    commit: RemoteCommit
    cached_files: tuple[CachedFile, ...] = ()
    """What there is already of every file that is wanted."""
    ref: str | None = None
    """The branch or tag that is to lead to the commit."""
    is_in_place: bool = False
    """Whether the snapshot and the ref need no change."""
    was_hashed: bool = False
    """Whether some of it had to be hashed to make this plan."""
    is_forced: bool = False
    is_offline: bool = False
    """Whether only the cache was looked at."""

    def action(self, cached: CachedFile) -> PullAction:
        """Return what is done about one file."""
        if self.is_forced or not cached.is_right:
            return PullAction.REPAIR if cached.state is CachedFileState.DAMAGED else PullAction.FETCH
        return PullAction.KEEP

    @property
    def missing(self) -> tuple[CachedFile, ...]:
        """The files to fetch."""
        return tuple(cached for cached in self.cached_files if self.action(cached) is not PullAction.KEEP)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return self.is_in_place and not self.missing

    @property
    def total_bytes(self) -> int:
        """The bytes of all wanted files."""
        return sum(cached.file.size for cached in self.cached_files)

    @property
    def bytes_to_fetch(self) -> int:
        """The bytes that are not on the disk yet; what has several names comes once."""
        blobs = {cached.file.hash: cached for cached in self.missing}.values()
        return sum(cached.file.size - (0 if self.is_forced else cached.partial_bytes) for cached in blobs)


@attrs.frozen
class StarterPlan:
    """What bringing a starter would do."""

    starter: Starter
    is_in_place: bool = False
    """Whether the workspace is there, and whole."""
    replaces: str | None = None
    """The folder of a workspace that an earlier run made, and that is damaged."""
    reason: str | None = None
    """What is wrong with it."""

    @property
    def bytes_to_fetch(self) -> int:
        """The bytes that may have to come."""
        return 0 if self.is_in_place else self.starter.wheel_bytes
