"""HealthChecker: the verdict on the files of every model, or of those that a pattern names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from mlxknife.domain.errors import AmbiguousMatch, ModelNotFound
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.integrity.services.verifier import VerificationPlan, VerificationResult, Verifier, case
from mlxknife.domain.integrity.values import HealthReport, ModelHealth
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.domain.names.rules import naming
from mlxknife.domain.names.services import Finder, ModelFolder
from mlxknife.ports.system.progress import Progress
from mlxknife.ports.system.workers import Workers


@attrs.frozen
class _Look:
    """What one look at a model told, and how it could be proven."""

    verdict: ModelHealth
    case: VerificationPlan | None


@attrs.frozen
class HealthChecker:
    """Answers ``health``: integrity only, whatever the installed runtime can do."""

    finder: Finder
    inspector: Inspector
    verifier: Verifier
    workers: Workers

    def check(
        self, pattern: str | None = None, *, verify: bool = False, progress: Progress | None = None
    ) -> HealthReport:
        """Judge the files of every model, of the models that a pattern names, or of one ``name@revision`` or path.

        ``verify`` also hashes every byte that has a recorded hash, without any network.

        Raises ModelNotFound when a pattern names none, AmbiguousMatch only for a revision of several models,
        ValidationError, StorageError, AccessDenied.
        """
        looks = self._looks(pattern, self._look_closely if verify else self._look)
        if not verify:
            return HealthReport(entries=tuple(look.verdict for look in looks))
        proofs = self.verifier.prove((look.case for look in looks if look.case is not None), progress)
        verdicts = (
            _proven(name, proofs[name]) if name in proofs else look.verdict
            for look in looks
            for name in (look.verdict.name,)
        )
        return HealthReport(entries=tuple(verdicts))

    def _looks(self, pattern: str | None, look: Callable[[ModelEntry], _Look]) -> Sequence[_Look]:
        if pattern is None:
            return self._looks_at(self.finder.places(), look)
        if naming.is_owner(pattern):
            places = self.finder.places(pattern)
            if not places:
                msg = f"No model found matching '{pattern}'"
                raise ModelNotFound(msg, suggestions=())
            return self._looks_at(places, look)
        try:
            return (look(self.finder.find(pattern)),)
        except AmbiguousMatch as ambiguous:
            if "@" in pattern or ambiguous.matches is None:
                raise
            matches = ambiguous.matches
        return self._looks_at([place for place in self.finder.places() if place.name in matches], look)

    def _looks_at(self, places: Sequence[ModelFolder], look: Callable[[ModelEntry], _Look]) -> Sequence[_Look]:
        return self.workers.map(lambda place: look(self.finder.entry(place)), places)

    def _look(self, entry: ModelEntry) -> _Look:
        finding = self.inspector.finding(entry, self.inspector.facts(entry))
        return _Look(_verdict(entry.name, finding.integrity if finding else Integrity.STRUCTURAL, finding), None)

    def _look_closely(self, entry: ModelEntry) -> _Look:
        """Look, and where the structure is right prepare the proof."""
        facts = self.inspector.facts(entry)
        finding = self.inspector.finding(entry, facts)
        if finding is not None:
            return _Look(_verdict(entry.name, finding.integrity, finding), None)
        return _Look(_verdict(entry.name, Integrity.STRUCTURAL, None), case(entry, facts))


def _proven(name: str, proof: VerificationResult) -> ModelHealth:
    return attrs.evolve(_verdict(name, proof.integrity, proof.finding), unverified_reason=proof.unverified_reason)


def _verdict(name: str, integrity: Integrity, finding: Finding | None) -> ModelHealth:
    return ModelHealth(name=name, integrity=integrity, reason=finding.reason if finding else None)
