"""Verification: hashing the files of models and comparing them with the recorded hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from mlxknife.domain.integrity.rules import verification
from mlxknife.domain.integrity.values import VerificationPlan, VerificationResult
from mlxknife.domain.models.values.hashes import HashJob, HashOutcome
from mlxknife.domain.models.values.verdict import Integrity
from mlxknife.ports.store.hash_stamps import HashStamps
from mlxknife.ports.store.hasher import Hasher
from mlxknife.ports.system.progress import NoProgress, Progress


@attrs.frozen
class Verifier:
    """Hashes the files of models, several at the same time."""

    hasher: Hasher
    hash_stamps: HashStamps

    def verify(
        self, plans: Iterable[VerificationPlan], progress: Progress | None = None
    ) -> Mapping[str, VerificationResult]:
        """Hash every file of every plan, and return the results by the names of the models. Raises nothing.

        A file that does not match loses its stamp, so that the next pull hashes it again.
        """
        plans = tuple(plans)
        progress = progress or NoProgress()
        jobs = [job for plan in plans for job in plan.jobs]
        progress.begin("verifying", sum(job.size for job in jobs))
        try:
            outcomes = self._outcomes(plans, jobs, progress)
        finally:
            progress.end()
        every = (outcome for found in outcomes.values() for outcome in found)
        self.hash_stamps.discard(outcome.job for outcome in every if not outcome.matches)
        return {plan.model: _result(plan, outcomes[plan.model]) for plan in plans}

    def _outcomes(
        self, plans: Iterable[VerificationPlan], jobs: Iterable[HashJob], progress: Progress
    ) -> dict[str, list[HashOutcome]]:
        outcomes: dict[str, list[HashOutcome]] = {plan.model: [] for plan in plans}
        for outcome in self.hasher.hash_files(jobs, progress.advance):
            outcomes[outcome.job.model].append(outcome)
        return outcomes


def _result(plan: VerificationPlan, outcomes: Iterable[HashOutcome]) -> VerificationResult:
    files = {outcome.job.name: verification.file_integrity(outcome) for outcome in outcomes}
    finding = verification.finding(outcomes)
    if finding is not None:
        return VerificationResult(finding.integrity, finding, files, None, None)
    integrity = Integrity.VERIFIED if plan.proof else Integrity.STRUCTURAL
    return VerificationResult(integrity, None, files, plan.proof, plan.limit)
