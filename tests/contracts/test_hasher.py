"""The contract of ``Hasher``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mlxknife.adapters.folder.hasher import ThreadedHasher
from mlxknife.domain.models.values.hashes import HashAlgorithm, HashJob, RecordedHash
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.store.hasher import Hasher
from tests.builder import git_sha1, sha256
from tests.fakes.hasher import FakeHasher

Opener = Callable[[Mapping[str, bytes]], tuple[Hasher, Location]]

CONTENTS = {"empty": b"", "small": b"hello", "large": bytes(range(256)) * 20_000, "sub/deep": b"x" * 1_048_577}


@pytest.fixture(params=["fake", "real"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    def fake(files: Mapping[str, bytes]) -> tuple[Hasher, Location]:
        return FakeHasher({("/x", name): data for name, data in files.items()}), Location("/x", ("/x",))

    def real(files: Mapping[str, bytes]) -> tuple[Hasher, Location]:
        for name, data in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return ThreadedHasher(workers=3), Location(str(tmp_path), (str(tmp_path),))

    return fake if request.param == "fake" else real


def job(location: Location, name: str, form: HashAlgorithm, digest: str = "") -> HashJob:
    return HashJob("model", location, name, 0, RecordedHash(form, digest))


def test_every_job_has_its_digest(opener: Opener) -> None:
    hasher, location = opener(CONTENTS)
    jobs = [job(location, name, form) for name in CONTENTS for form in HashAlgorithm]
    outcomes = list(hasher.hash_files(iter(jobs), lambda _: None))
    found = {(outcome.job.name, outcome.job.recorded.algorithm): outcome.digest for outcome in outcomes}
    expected = {(name, HashAlgorithm.SHA256): sha256(data) for name, data in CONTENTS.items()}
    assert found == expected | {(name, HashAlgorithm.GIT_SHA1): git_sha1(data) for name, data in CONTENTS.items()}
    assert len(outcomes) == len(jobs)


def test_an_outcome_matches_when_the_digest_is_the_recorded_one(opener: Opener) -> None:
    hasher, location = opener(CONTENTS)
    jobs = [job(location, "small", HashAlgorithm.SHA256, digest) for digest in (sha256(b"hello"), sha256(b"hellp"))]
    matches = {outcome.job.recorded.digest: outcome.matches for outcome in hasher.hash_files(jobs, lambda _: None)}
    assert matches == {sha256(b"hello"): True, sha256(b"hellp"): False}


def test_every_byte_is_counted(opener: Opener) -> None:
    hasher, location = opener(CONTENTS)
    counts: list[int] = []
    jobs = [job(location, name, HashAlgorithm.SHA256) for name in CONTENTS]
    assert len(list(hasher.hash_files(jobs, counts.append))) == len(CONTENTS)
    assert sum(counts) == sum(map(len, CONTENTS.values()))


def test_a_missing_file_is_a_problem_and_no_match(opener: Opener) -> None:
    hasher, location = opener(CONTENTS)
    (outcome,) = hasher.hash_files([job(location, "nothing", HashAlgorithm.SHA256)], lambda _: None)
    assert outcome.problem
    assert not outcome.matches


def test_no_jobs_give_no_outcomes(opener: Opener) -> None:
    hasher, _ = opener({})
    assert list(hasher.hash_files([], lambda _: None)) == []


def test_many_more_jobs_than_workers_are_all_done(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
    location = Location(str(tmp_path), (str(tmp_path),))
    jobs = (job(location, str(n), HashAlgorithm.SHA256, hashlib.sha256(b"%d" % n).hexdigest()) for n in range(100))
    outcomes = list(ThreadedHasher(workers=2).hash_files(jobs, lambda _: None))
    assert len(outcomes) == 100
    assert all(outcome.matches for outcome in outcomes)


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "loop"])
def test_a_link_out_of_bounds_is_not_hashed(tmp_path: Path, target: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    (model / "loop").symlink_to(target)
    location = Location(str(model), (str(model),))
    (outcome,) = ThreadedHasher().hash_files([job(location, "loop", HashAlgorithm.SHA256)], lambda _: None)
    assert outcome.digest is None
    assert outcome.problem
