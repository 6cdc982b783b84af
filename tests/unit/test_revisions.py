from __future__ import annotations

import pytest

from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot, Ref
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.domain.names.rules import revisions

_OLD, _NEW, _GONE = "0abc" + "0" * 36, "0abd" + "0" * 36, "f" * 40


def _repo(refs: dict[str, str | None], *commits: str, problem: str | None = None) -> CachedRepo:
    """Make a repo whose later refs and snapshots are newer."""
    return CachedRepo(
        folder="models--org--name",
        modified=0.0,
        refs=tuple(Ref(name, commit, float(number)) for number, (name, commit) in enumerate(refs.items())),
        snapshots=tuple(
            CachedSnapshot(commit, Location(commit, ()), float(number)) for number, commit in enumerate(commits)
        ),
        problem=problem,
    )


def _missing(ref: str) -> Finding:
    return Finding(Integrity.INCOMPLETE, f"refs/{ref} points to ffffffffffff, which is not in the cache")


@pytest.mark.parametrize(
    ("repo", "commit", "finding"),
    [
        pytest.param(_repo({"main": _OLD, "v2": _NEW}, _OLD, _NEW), _OLD, None, id="main rules"),
        pytest.param(_repo({"v1": _NEW, "v2": _OLD}, _OLD, _NEW), _OLD, None, id="then the newest ref"),
        pytest.param(_repo({}, _OLD, _NEW), _NEW, None, id="then the newest snapshot"),
        pytest.param(_repo({"main": _GONE}, _OLD), _OLD, _missing("main"), id="main leads nowhere"),
        pytest.param(_repo({"main": _GONE}), None, _missing("main"), id="main leads nowhere and nothing is there"),
        pytest.param(
            _repo({"main": None, "v1": _OLD}, _OLD),
            _OLD,
            Finding(Integrity.CORRUPT, "refs/main does not hold a commit hash"),
            id="main is damaged",
        ),
        pytest.param(_repo({}), None, Finding(Integrity.INCOMPLETE, "no snapshot downloaded"), id="nothing at all"),
        pytest.param(
            _repo({"main": _OLD}, _OLD, problem="refs cannot be read"),
            _OLD,
            Finding(Integrity.INCOMPLETE, "refs cannot be read"),
            id="a problem of the repo comes first",
        ),
    ],
)
def test_the_default_snapshot(repo: CachedRepo, commit: str | None, finding: Finding | None) -> None:
    snapshot, problem = revisions.default_snapshot(repo)
    assert (snapshot.commit if snapshot else None, problem) == (commit, finding)


@pytest.mark.parametrize(
    ("revision", "commits"),
    [
        ("main", (_OLD,)),
        ("v1.0", (_NEW,)),
        ("refs/pr/1", (_NEW,)),
        (_OLD, (_OLD,)),
        ("0abc", (_OLD,)),
        ("0ABC", (_OLD,)),
        ("0ab", (_OLD, _NEW)),
        ("0a", ()),
        ("", ()),
        ("fff", ()),
        ("gone", (_GONE,)),
        ("broken", ()),
        ("nothing", ()),
    ],
)
def test_a_revision_is_a_hash_a_ref_or_a_prefix_of_a_hash(revision: str, commits: tuple[str, ...]) -> None:
    refs: dict[str, str | None] = {"main": _OLD, "v1.0": _NEW, "refs/pr/1": _NEW, "gone": _GONE, "broken": None}
    assert revisions.named_snapshots(_repo(refs, _OLD, _NEW), revision) == commits


def test_a_branch_named_like_a_prefix_of_a_hash_wins_over_it() -> None:
    assert revisions.named_snapshots(_repo({"0abc": _NEW}, _OLD, _NEW), "0abc") == (_NEW,)
