"""Models as somebody finds them: that they are there, under which name, in which place."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.verdict import Finding


@attrs.frozen
class ModelSpec:
    """What a user typed to name a model: ``name[@revision]``, or a path."""

    name: str
    revision: str | None = None
    is_path: bool = False


@attrs.frozen
class Ref:
    """A branch or tag of a cached repo. ``commit`` is None when the file says nothing that could be one."""

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
    """Why this cannot be a snapshot, when what stands in its place is no folder."""


@attrs.frozen
class CachedRepo:
    """A model folder of the cache, looked at from outside."""

    folder: str
    modified: float
    refs: tuple[Ref, ...] = ()
    snapshots: tuple[CachedSnapshot, ...] = ()
    unfinished: frozenset[str] = frozenset()
    """Names of blobs that have a download under way or left behind."""
    problem: str | None = None
    """Why the folder could not be looked at, in whole or in part."""
    is_link: bool = False
    """Whether it is a link to the folder that has the model."""


@attrs.frozen
class Workspace:
    """A plain folder with a model. ``at_home``: directly inside the workspace home."""

    folder: str
    path: str
    location: Location
    modified: float
    at_home: bool
    is_managed: bool = False
    """Whether it carries our sentinel."""
    origin: str | None = None


@attrs.frozen
class ModelEntry:
    """A model that is there, before anybody looked inside. ``name`` resolves to it again."""

    name: str
    cached: bool
    location: Location | None
    modified: float
    commit: str | None = None
    unfinished: frozenset[str] = frozenset()
    finding: Finding | None = None
    """What is already known to be wrong."""
    manifest: Mapping[str, RecordedFile] | None = None
    """Every file as the Hub listed it, where the cache recorded that."""
    origin: str | None = None
