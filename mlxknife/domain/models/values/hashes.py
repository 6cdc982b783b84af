"""Hashes: what is recorded for a file, and the outcome of hashing it."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain.models.values.snapshot import Location


class HashAlgorithm(Enum):
    """How a recorded hash was computed."""

    SHA256 = "sha256"
    GIT_SHA1 = "git-sha1"
    """SHA-1 over ``blob <size>``, a NUL and the content, as git names its blobs."""


@attrs.frozen
class RecordedHash:
    """The expected hash of a file."""

    algorithm: HashAlgorithm
    digest: str


@attrs.frozen
class RecordedFile:
    """One file of a commit as the recorded listing describes it."""

    size: int
    hash: RecordedHash | None = None


@attrs.frozen
class HashJob:
    """A file of a model to hash. ``size`` is its size when the model was read."""

    model: str
    location: Location
    name: str
    size: int
    recorded: RecordedHash


@attrs.frozen
class HashOutcome:
    """The digest of a file, or the reason why there is none."""

    job: HashJob
    digest: str | None
    problem: str | None = None

    @property
    def matches(self) -> bool:
        """Whether the digest is the recorded one."""
        return self.digest == self.job.recorded.digest
