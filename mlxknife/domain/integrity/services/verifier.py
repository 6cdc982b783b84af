"""Verification: hashing what a model is against what was recorded of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from mlxknife.domain.integrity.rules import verification
from mlxknife.domain.models.values.entries import Entry
from mlxknife.domain.models.values.hashes import HashJob, HashOutcome
from mlxknife.domain.models.values.snapshot import SnapshotFacts
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.ports.store.hash_stamps import HashStamps
from mlxknife.ports.store.hasher import Hasher
from mlxknife.ports.system.progress import Progress


@attrs.frozen
class Case:
    """The work that would prove a model, without the facts that it came from."""

    model: str
    jobs: tuple[HashJob, ...]
    is_decided: bool
    """Whether right hashes prove the whole model."""


@attrs.frozen
class Proof:
    """What hashing a model told."""

    integrity: Integrity
    finding: Finding | None
    files: Mapping[str, Integrity]

    @property
    def left_open(self) -> str | None:
        """What it could not prove, where nothing is wrong."""
        return verification.left_open(self.integrity, hashed=len(self.files))


def case(entry: Entry, facts: SnapshotFacts) -> Case:
    """Prepare the proof of a model whose structure is right."""
    manifest = entry.manifest or {}
    jobs = tuple(verification.jobs(entry, facts, manifest))
    return Case(model=entry.name, jobs=jobs, is_decided=bool(jobs) and verification.is_decided(facts, manifest))


@attrs.frozen
class Verifier:
    """Hashes models, many files side by side."""

    hasher: Hasher
    hash_stamps: HashStamps

    def prove(self, cases: Iterable[Case], progress: Progress | None = None) -> Mapping[str, Proof]:
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
        self.hash_stamps.discard(outcome.job for outcome in every if not outcome.matches)
        return {case.model: _proof(case, outcomes[case.model]) for case in cases}


def _proof(case: Case, outcomes: Iterable[HashOutcome]) -> Proof:
    files = {outcome.job.name: verification.file_integrity(outcome) for outcome in outcomes}
    finding = verification.finding(outcomes)
    best = Integrity.VERIFIED if case.is_decided else Integrity.STRUCTURAL
    return Proof(integrity=finding.integrity if finding else best, finding=finding, files=files)


def _nobody_hears(count: int) -> None:
    del count
