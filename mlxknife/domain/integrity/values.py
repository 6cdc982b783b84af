"""Plans and results of verification, and the report of ``health``."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.models.values.hashes import HashJob
from mlxknife.domain.models.values.verdict import Finding, Integrity, Proof


@attrs.frozen
class VerificationPlan:
    """The files of a model to hash."""

    model: str
    jobs: tuple[HashJob, ...]
    proof: Proof | None
    """What matching hashes prove; None if they do not verify the whole model."""
    limit: str | None = None
    """Why the proof is not better."""


@attrs.frozen
class VerificationResult:
    """The result of hashing the files of a model."""

    integrity: Integrity
    finding: Finding | None
    files: Mapping[str, Integrity]
    """The integrity of each hashed file."""
    proof: Proof | None
    """What ``verified`` proves; None for another integrity."""
    limit: str | None
    """Why hashing could not prove more, although it found no damage."""


@attrs.frozen
class ModelHealth:
    """The integrity of one model."""

    name: str
    integrity: Integrity
    reason: str | None
    limit: str | None = None
    """Why hashing could not prove more, although it found no damage."""
    is_managed: bool | None = None
    """Whether mlxk made this workspace; None for a cached model."""
    proof: Proof | None = None
    """What ``verified`` proves; None for another integrity."""

    __repr__ = reprs.fields


@attrs.frozen
class HealthReport:
    """The result of one ``health`` run, in the order of the catalog."""

    entries: tuple[ModelHealth, ...]

    def __repr__(self) -> str:
        """Return the number of healthy models and the names of the others."""
        unhealthy = tuple(entry.name for entry in self.unhealthy())
        return reprs.call(self, healthy=len(self.healthy()), unhealthy=unhealthy)

    def healthy(self) -> tuple[ModelHealth, ...]:
        """Return the models whose files are intact."""
        return tuple(entry for entry in self.entries if entry.integrity.healthy)

    def unhealthy(self) -> tuple[ModelHealth, ...]:
        """Return the models that are damaged or incomplete."""
        return tuple(entry for entry in self.entries if not entry.integrity.healthy)
