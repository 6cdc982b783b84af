"""Health: the integrity of every model, or of those that a pattern names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.errors import AmbiguousMatch, ModelNotFound
from mlxknife.domain.integrity.rules import verification
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.integrity.services.verifier import Verifier
from mlxknife.domain.integrity.values import HealthReport, ModelHealth, VerificationPlan, VerificationResult
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.domain.names.rules import naming
from mlxknife.domain.names.services import Finder, ModelFolder
from mlxknife.ports.system.progress import Progress


@attrs.frozen
class _Inspection:
    """The structural verdict on a model, and what to hash where the structure is intact."""

    health: ModelHealth
    plan: VerificationPlan | None


@attrs.frozen
class HealthChecker:
    """Answers ``health``: integrity only, whatever the installed packages can run."""

    finder: Finder
    inspector: Inspector
    verifier: Verifier

    __repr__ = reprs.name

    def check(
        self, pattern: str | None = None, *, verify: bool = False, progress: Progress | None = None
    ) -> HealthReport:
        """Return the integrity of every model, of those that a pattern names, or of one ``name@revision`` or path.

        ``verify`` also hashes every file that has a recorded hash. Nothing uses the network.

        Raises ModelNotFound when no model matches, AmbiguousMatch only for a revision of several models,
        ValidationError, StorageError, AccessDenied.
        """
        inspections = self._inspections(pattern, self._inspect_and_plan if verify else self._inspect)
        if not verify:
            return HealthReport(entries=tuple(inspection.health for inspection in inspections))
        plans = (inspection.plan for inspection in inspections if inspection.plan is not None)
        results = self.verifier.verify(plans, progress)
        entries = (
            _verified(health, results[health.name]) if health.name in results else health
            for health in (inspection.health for inspection in inspections)
        )
        return HealthReport(entries=tuple(entries))

    def _inspections(self, pattern: str | None, inspect: Callable[[ModelEntry], _Inspection]) -> Sequence[_Inspection]:
        if pattern is None:
            return self._inspect_all(self.finder.folders(), inspect)
        if naming.is_owner(pattern):
            folders = self.finder.folders(pattern)
            if not folders:
                msg = f"No model found matching '{pattern}'"
                raise ModelNotFound(msg, suggestions=())
            return self._inspect_all(folders, inspect)
        try:
            return (inspect(self.finder.find(pattern)),)
        except AmbiguousMatch as ambiguous:
            if "@" in pattern or ambiguous.matches is None:
                raise
            matches = ambiguous.matches
        return self._inspect_all([folder for folder in self.finder.folders() if folder.name in matches], inspect)

    def _inspect_all(
        self, folders: Sequence[ModelFolder], inspect: Callable[[ModelEntry], _Inspection]
    ) -> Sequence[_Inspection]:
        return [inspect(self.finder.entry(folder)) for folder in folders]

    def _inspect(self, entry: ModelEntry) -> _Inspection:
        finding = self.inspector.finding(entry, self.inspector.facts(entry))
        return _Inspection(_health(entry, finding), None)

    def _inspect_and_plan(self, entry: ModelEntry) -> _Inspection:
        facts = self.inspector.facts(entry)
        finding = self.inspector.finding(entry, facts)
        if finding is not None:
            return _Inspection(_health(entry, finding), None)
        return _Inspection(_health(entry, None), verification.plan(entry, facts))


def _verified(health: ModelHealth, result: VerificationResult) -> ModelHealth:
    return attrs.evolve(
        health,
        integrity=result.integrity,
        reason=result.finding.reason if result.finding else None,
        proof=result.proof,
        limit=result.limit,
    )


def _health(entry: ModelEntry, finding: Finding | None) -> ModelHealth:
    integrity, reason = (finding.integrity, finding.reason) if finding else (Integrity.STRUCTURAL, None)
    return ModelHealth(entry.name, integrity, reason, is_managed=entry.is_managed)
