"""Hashes: what a file should be, and what became of checking it."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain.models.values.snapshot import Location


class HashAlgorithm(Enum):
    """How a recorded hash was made."""

    SHA256 = "sha256"
    GIT_SHA1 = "git-sha1"
    """SHA-1 over ``blob <size>``, a NUL and the content, as git names its blobs."""


@attrs.frozen
class RecordedHash:
    """A hash that somebody recorded for a file."""

    algorithm: HashAlgorithm
    digest: str


@attrs.frozen
class RecordedFile:
    """What the cache's listing of a commit says of one file."""

    size: int
    hash: RecordedHash | None = None


@attrs.frozen
class HashJob:
    """A file of a model to hash. ``size`` is what it had when it was looked at."""

    model: str
    location: Location
    name: str
    size: int
    recorded: RecordedHash


@attrs.frozen
class HashOutcome:
    """The digest of a file, or why there is none."""

    job: HashJob
    digest: str | None
    problem: str | None = None

    @property
    def matches(self) -> bool:
        """Whether the content is what was recorded."""
        return self.digest == self.job.recorded.digest
