"""What ``health`` reports."""

from __future__ import annotations

import attrs

from mlxknife.domain.models.values.verdict import Integrity


@attrs.frozen
class ModelHealth:
    """The verdict on the files of one model."""

    name: str
    integrity: Integrity
    reason: str | None
    unverified_reason: str | None = None
    """What verifying could not prove, where nothing is wrong."""


@attrs.frozen
class HealthReport:
    """The verdicts of one ``health`` run, in the order of the catalog."""

    entries: tuple[ModelHealth, ...]

    def healthy(self) -> tuple[ModelHealth, ...]:
        """Return the entries whose files are whole."""
        return tuple(entry for entry in self.entries if entry.integrity.healthy)

    def unhealthy(self) -> tuple[ModelHealth, ...]:
        """Return the entries with something wrong."""
        return tuple(entry for entry in self.entries if not entry.integrity.healthy)
