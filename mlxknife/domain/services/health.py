"""Health: the verdict on the files of every model, or of those that a pattern names."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import AmbiguousMatch
from mlxknife.domain.model.catalog import Entry
from mlxknife.domain.model.health import HealthEntry, HealthReport
from mlxknife.domain.model.verdict import Integrity
from mlxknife.domain.services.finder import Finder, Place
from mlxknife.domain.services.inspector import Inspector
from mlxknife.ports.workers import Workers


@attrs.frozen
class Health:
    """Answers ``health``: integrity only, whatever the installed runtime can do."""

    finder: Finder
    inspector: Inspector
    workers: Workers

    def check(self, pattern: str | None = None) -> HealthReport:
        """Judge the files of every model, of the models that a pattern names, or of one ``name@revision`` or path.

        Raises ModelNotFound when a pattern names none, AmbiguousMatch only for a revision of several models,
        ValidationError, StorageError, AccessDenied.
        """
        if pattern is not None:
            try:
                return HealthReport(entries=(self._judge(self.finder.find(pattern)),))
            except AmbiguousMatch as ambiguous:
                if "@" in pattern or ambiguous.matches is None:
                    raise
                matches = ambiguous.matches
        places = [place for place in self.finder.places() if pattern is None or place.name in matches]
        return HealthReport(entries=tuple(self.workers.map(self._look, places)))

    def _look(self, place: Place) -> HealthEntry:
        return self._judge(self.finder.entry(place))

    def _judge(self, entry: Entry) -> HealthEntry:
        finding = self.inspector.finding(entry, self.inspector.facts(entry))
        if finding is None:
            return HealthEntry(name=entry.name, integrity=Integrity.STRUCTURAL, reason=None)
        return HealthEntry(name=entry.name, integrity=finding.integrity, reason=finding.reason)
