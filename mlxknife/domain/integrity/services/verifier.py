"""Verification: hashing what a model is against what was recorded of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from mlxknife.domain.integrity.rules import verification
from mlxknife.domain.models.values.hashes import HashJob, HashOutcome
from mlxknife.domain.models.values.snapshot import SnapshotFacts
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.ports.store.hasher import Hasher
from mlxknife.ports.store.proofs import Proofs
from mlxknife.ports.system.progress import Progress


@attrs.frozen
class VerificationPlan:
    """The work that would prove a model, without the facts that it came from."""

    model: str
    jobs: tuple[HashJob, ...]
    is_verifiable: bool
    """Whether right hashes prove the whole model."""


@attrs.frozen
class VerificationResult:
    """What hashing a model told."""

    integrity: Integrity
    finding: Finding | None
    files: Mapping[str, Integrity]

    @property
    def unverified_reason(self) -> str | None:
        """What it could not prove, where nothing is wrong."""
        return verification.unverified_reason(self.integrity, hashed=len(self.files))


def case(entry: ModelEntry, facts: SnapshotFacts) -> VerificationPlan:
    """Prepare the proof of a model whose structure is right."""
    manifest = entry.manifest or {}
    jobs = tuple(verification.jobs(entry, facts, manifest))
    return VerificationPlan(
        model=entry.name, jobs=jobs, is_verifiable=bool(jobs) and verification.is_verifiable(facts, manifest)
    )


@attrs.frozen
class Verifier:
    """Hashes models, many files side by side."""

    hasher: Hasher
    proofs: Proofs

    def prove(
        self, cases: Iterable[VerificationPlan], progress: Progress | None = None
    ) -> Mapping[str, VerificationResult]:
        """Hash every file of every case and return the proofs by the models' names. Raises nothing.

        A file that is wrong counts as proven no longer, so that the next pull does not believe it.
        """
        cases = tuple(cases)
        outcomes: dict[str, list[HashOutcome]] = {case.model: [] for case in cases}
        jobs = [job for case in cases for job in case.jobs]
        if progress is not None:
            progress.begin("verifying", sum(job.size for job in jobs))
        try:
            for outcome in self.hasher.hash_files(jobs, progress.advance if progress is not None else _nobody_hears):
                outcomes[outcome.job.model].append(outcome)
        finally:
            if progress is not None:
                progress.end()
        every = (outcome for found in outcomes.values() for outcome in found)
        self.proofs.withdraw(outcome.job for outcome in every if not outcome.matches)
        return {case.model: _proof(case, outcomes[case.model]) for case in cases}


def _proof(case: VerificationPlan, outcomes: Iterable[HashOutcome]) -> VerificationResult:
    files = {outcome.job.name: verification.file_integrity(outcome) for outcome in outcomes}
    finding = verification.finding(outcomes)
    best = Integrity.VERIFIED if case.is_verifiable else Integrity.STRUCTURAL
    return VerificationResult(integrity=finding.integrity if finding else best, finding=finding, files=files)


def _nobody_hears(count: int) -> None:
    del count
