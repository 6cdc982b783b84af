"""Models as they are stored: the repos of the cache, the workspaces, and the entries of the catalog."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.verdict import Finding


@attrs.frozen
class ModelSpec:
    """A user's name for a model, parsed: ``name[@revision]``, or a path."""

    name: str
    revision: str | None = None
    is_path: bool = False


@attrs.frozen
class Ref:
    """A branch or tag of a cached repo. ``commit`` is None when the ref file holds no commit hash."""

    name: str
    commit: str | None
    modified: float


@attrs.frozen
class CachedSnapshot:
    """One downloaded commit of a cached repo."""

    commit: str
    location: Location
    modified: float
    problem: str | None = None
    """Why this is not a usable snapshot, for example because its path is not a folder."""


@attrs.frozen
class CachedRepo:
    """A model folder of the cache: its refs and snapshots, without the files in them."""

    folder: str
    modified: float
    refs: tuple[Ref, ...] = ()
    snapshots: tuple[CachedSnapshot, ...] = ()
    unfinished: frozenset[str] = frozenset()
    """Names of the blobs whose download is unfinished."""
    problem: str | None = None
    """Why the folder could not be read, or only in part."""
    is_link: bool = False
    """Whether the folder is a symbolic link."""


@attrs.frozen
class Workspace:
    """A plain folder with a model. ``at_home``: directly inside the workspace home."""

    folder: str
    path: str
    location: Location
    modified: float
    at_home: bool
    is_managed: bool = False
    """Whether mlxk made it, as its sentinel file says."""
    origin: str | None = None


@attrs.frozen
class ModelEntry:
    """A model of the catalog whose files have not been read. ``name`` resolves to it again."""

    name: str
    cached: bool
    location: Location | None
    modified: float
    commit: str | None = None
    unfinished: frozenset[str] = frozenset()
    finding: Finding | None = None
    """The damage that is known without reading the files."""
    manifest: Mapping[str, RecordedFile] | None = None
    """The Hub's listing of the commit, where the cache recorded one."""
    origin: str | None = None
    is_managed: bool | None = None
    """Whether mlxk made this workspace; None for a cached model."""
    is_unreadable: bool = False
    """Whether the folder of the model cannot be read, so that nothing is known about its content."""
