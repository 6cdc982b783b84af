"""Verification: which hash a file must have, and what matching or different hashes say about the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from mlxknife.domain.integrity.values import VerificationPlan
from mlxknife.domain.models.values.hashes import HashAlgorithm, HashJob, HashOutcome, RecordedFile, RecordedHash
from mlxknife.domain.models.values.snapshot import FileFact, FileState, SnapshotFacts
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Finding, Integrity, Proof

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAMED_AT_MOST = 3
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")

Manifest = Mapping[str, RecordedFile]


def recorded_hash(file: FileFact, manifest: Manifest) -> RecordedHash | None:
    """Return the hash that a file must have: from the listing where it has one, else from the name of its blob."""
    listed = manifest.get(file.name)
    if listed is not None and listed.hash is not None:
        return listed.hash
    blob = file.blob or ""
    if _SHA256.fullmatch(blob):
        return RecordedHash(HashAlgorithm.SHA256, blob)
    if _GIT_SHA1.fullmatch(blob):
        return RecordedHash(HashAlgorithm.GIT_SHA1, blob)
    return None


def plan(entry: ModelEntry, facts: SnapshotFacts) -> VerificationPlan:
    """Return what to hash of a model whose structure is intact."""
    manifest = entry.manifest or {}
    jobs = tuple(_jobs(entry, facts, manifest))
    if not jobs:
        return VerificationPlan(entry.name, jobs, None, "nothing recorded to compare with")
    if not _has_hash_for_every_file(facts, manifest):
        return VerificationPlan(entry.name, jobs, None, "not everything is recorded")
    limit = _limit(facts, manifest)
    return VerificationPlan(entry.name, jobs, Proof.FILES if limit else Proof.MANIFEST, limit)


def _limit(facts: SnapshotFacts, manifest: Manifest) -> str | None:
    """Return why matching hashes cannot prove that every file of the commit is there; None if they do."""
    if not manifest:
        return "the files that are there; no list of all is cached"
    gone = sorted(manifest.keys() - facts.names())
    if gone:
        more = f" and {len(gone) - _NAMED_AT_MOST} more" if len(gone) > _NAMED_AT_MOST else ""
        return f"the files that are there, without {', '.join(gone[:_NAMED_AT_MOST])}{more}"
    unhashed = sorted(name for name, listed in manifest.items() if listed.hash is None)
    return f"the list of files has no hash of {unhashed[0]}" if unhashed else None


def file_integrity(outcome: HashOutcome) -> Integrity:
    """Return the integrity of a file after hashing."""
    if outcome.problem is not None:
        return Integrity.INCOMPLETE
    return Integrity.VERIFIED if outcome.matches else Integrity.CORRUPT


def finding(outcomes: Iterable[HashOutcome]) -> Finding | None:
    """Return the problem of the first file, by name, whose hash differs or could not be computed; None without one."""
    for outcome in sorted(outcomes, key=lambda outcome: outcome.job.name):
        if outcome.problem is not None:
            return Finding(Integrity.INCOMPLETE, f"{outcome.job.name}: {outcome.problem}")
        if not outcome.matches:
            return Finding(Integrity.CORRUPT, f"hash mismatch: {outcome.job.name}")
    return None


def _jobs(entry: ModelEntry, facts: SnapshotFacts, manifest: Manifest) -> Iterator[HashJob]:
    for file in facts.files:
        recorded = recorded_hash(file, manifest)
        if entry.location is not None and recorded is not None and file.state is FileState.OK:
            yield HashJob(entry.name, entry.location, file.name, file.size, recorded)


def _has_hash_for_every_file(facts: SnapshotFacts, manifest: Manifest) -> bool:
    """Return whether matching hashes verify the whole model.

    They do when every file has a recorded hash. Without a listing, a link to the wrong blob cannot be detected. So
    files of different names that share a blob leave the model ``structural``.
    """
    if not all(recorded_hash(file, manifest) for file in facts.files):
        return False
    listed = {name for name, recorded in manifest.items() if recorded.hash is not None}
    unlisted = [file for file in facts.files if file.name not in listed]
    names = {(file.blob, file.name.rpartition("/")[2]) for file in unlisted}
    return all(uses == 1 for uses in Counter(blob for blob, _ in names).values())
