"""Revisions: which snapshot of a cached repo a revision selects."""

from __future__ import annotations

from mlxknife.domain.errors import AmbiguousMatch, ModelNotFound
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot, Ref
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.domain.names.rules import naming

MAIN = "main"
_COMMIT_DIGITS = 40


def default_snapshot(repo: CachedRepo) -> tuple[CachedSnapshot | None, Finding | None]:
    """Return the snapshot of ``refs/main``, else of the newest ref, else the newest, and the problem of that choice.

    A ref to a missing snapshot still returns the newest one, so that a damaged model differs from an empty one.
    """
    if repo.problem is not None:
        return _newest(repo), Finding(Integrity.INCOMPLETE, repo.problem)
    ref = _leading_ref(repo)
    if ref is None:
        newest = _newest(repo)
        return newest, None if newest else Finding(Integrity.INCOMPLETE, "no snapshot downloaded")
    if ref.commit is None:
        return _newest(repo), Finding(Integrity.CORRUPT, f"refs/{ref.name} does not hold a commit hash")
    for snapshot in repo.snapshots:
        if snapshot.commit == ref.commit:
            return snapshot, None
    reason = f"refs/{ref.name} points to {ref.commit[:12]}, which is not in the cache"
    return _newest(repo), Finding(Integrity.INCOMPLETE, reason)


def can_abbreviate_commit(revision: str) -> bool:
    """Return whether a revision could abbreviate a commit hash."""
    digits = revision.lower()
    return naming.MIN_COMMIT_PREFIX <= len(digits) < _COMMIT_DIGITS and set(digits) <= set("0123456789abcdef")


def is_commit_prefix(revision: str, commit: str) -> bool:
    """Return whether a revision abbreviates or is this commit, and so is no branch or tag, which could move."""
    return len(revision) >= naming.MIN_COMMIT_PREFIX and commit.startswith(revision.lower())


def named_snapshots(repo: CachedRepo, revision: str) -> tuple[str, ...]:
    """Return the commits that a revision names: a full hash, else a ref of that name, else a prefix."""
    commits = tuple(snapshot.commit for snapshot in repo.snapshots)
    if revision in commits:
        return (revision,)
    for ref in repo.refs:
        if ref.name == revision and ref.commit is not None:
            return (ref.commit,)
    return naming.matching_commits(revision, commits)


def has_snapshot(repo: CachedRepo, revision: str) -> bool:
    """Return whether a revision names at least one snapshot of a repo."""
    return not {snapshot.commit for snapshot in repo.snapshots}.isdisjoint(named_snapshots(repo, revision))


def only_snapshot(name: str, repo: CachedRepo, revision: str) -> CachedSnapshot:
    """Return the one snapshot that a revision names. Raises ModelNotFound, AmbiguousMatch."""
    snapshots = {snapshot.commit: snapshot for snapshot in repo.snapshots}
    found = named_snapshots(repo, revision)
    if len(found) > 1:
        msg = f"Multiple revisions of '{name}' match '{revision}'"
        raise AmbiguousMatch(msg, available_hashes=found, hint=HintCode.LONGER_HASH)
    if not found or found[0] not in snapshots:
        msg = f"No revision '{revision}' of '{name}' in the cache"
        raise ModelNotFound(msg, available_hashes=tuple(sorted(snapshots)))
    return snapshots[found[0]]


def _leading_ref(repo: CachedRepo) -> Ref | None:
    main = next((ref for ref in repo.refs if ref.name == MAIN), None)
    return main or max(repo.refs, key=lambda ref: (ref.modified, ref.name), default=None)


def _newest(repo: CachedRepo) -> CachedSnapshot | None:
    return max(
        repo.snapshots,
        key=lambda snapshot: (snapshot.modified, snapshot.commit),
        default=None,
    )
