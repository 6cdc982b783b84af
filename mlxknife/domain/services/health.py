"""Health: the verdict on the files of every model, or of those that a pattern names."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import AmbiguousMatch
from mlxknife.domain.model.catalog import Entry
from mlxknife.domain.model.health import HealthEntry, HealthReport
from mlxknife.domain.model.verdict import Integrity
from mlxknife.domain.services.finder import Finder
from mlxknife.domain.services.inspector import Inspector


@attrs.frozen
class Health:
    """Answers ``health``: integrity only, whatever the installed runtime can do."""

    finder: Finder
    inspector: Inspector

    def check(self, pattern: str | None = None) -> HealthReport:
        """Judge the files of every model, of the models that a pattern names, or of one ``name@revision`` or path.

        Raises ModelNotFound when a pattern names none, AmbiguousMatch only for a revision of several models,
        ValidationError, StorageError, AccessDenied.
        """
        return HealthReport(entries=tuple(map(self._judge, self._entries(pattern))))

    def _entries(self, pattern: str | None) -> tuple[Entry, ...]:
        if pattern is None:
            return self.finder.entries()
        try:
            return (self.finder.find(pattern),)
        except AmbiguousMatch as ambiguous:
            if "@" in pattern or ambiguous.matches is None:
                raise
            return tuple(entry for entry in self.finder.entries(pattern) if entry.name in ambiguous.matches)

    def _judge(self, entry: Entry) -> HealthEntry:
        finding = self.inspector.finding(entry, self.inspector.facts(entry))
        if finding is None:
            return HealthEntry(name=entry.name, integrity=Integrity.STRUCTURAL, reason=None)
        return HealthEntry(name=entry.name, integrity=finding.integrity, reason=finding.reason)
