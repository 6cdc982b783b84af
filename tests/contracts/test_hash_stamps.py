"""The contract of ``HashStamps``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.adapters.hfcache.stamps import CacheStamps
from mlxknife.domain.models.values.hashes import HashJob
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.transfer.values import CachedFileState
from mlxknife.ports.store.hash_stamps import HashStamps
from tests.contracts.downloads import COMMIT, FOLDER, WEIGHTS, pull
from tests.contracts.permissions import forbidden, shared_folder
from tests.fakes.hash_stamps import FakeHashStamps


class Base(ABC):
    """The tests for the fake and the real adapter."""

    @abstractmethod
    def stamped(self, place: Path) -> tuple[HashStamps, Sequence[HashJob]]:
        """Return stamps of three files, and these files as jobs."""

    @abstractmethod
    def names(self, hash_stamps: HashStamps, place: Path) -> set[str]:
        """Return the names of the files that have a valid stamp."""

    def test_discarded_stamps_are_gone_and_the_others_stay(self, tmp_path: Path) -> None:
        hash_stamps, jobs = self.stamped(tmp_path)
        every = {job.name for job in jobs}
        assert self.names(hash_stamps, tmp_path) == every
        hash_stamps.discard(jobs[:1])
        assert self.names(hash_stamps, tmp_path) == every - {jobs[0].name}
        hash_stamps.discard(jobs[:1])
        hash_stamps.discard([])
        assert self.names(hash_stamps, tmp_path) == every - {jobs[0].name}
        hash_stamps.discard(iter(jobs))
        assert self.names(hash_stamps, tmp_path) == set()

    def test_discarding_a_file_without_a_stamp_changes_nothing(self, tmp_path: Path) -> None:
        hash_stamps, jobs = self.stamped(tmp_path)
        nowhere = Location(str(tmp_path / "nowhere"), (str(tmp_path / "nowhere"),))
        hash_stamps.discard([HashJob("x", nowhere, "x", 1, WEIGHTS.hash)])
        assert self.names(hash_stamps, tmp_path) == {job.name for job in jobs}


class TestFake(Base):
    """Stamps in memory."""

    def stamped(self, place: Path) -> tuple[HashStamps, Sequence[HashJob]]:
        jobs = _jobs(place)
        return FakeHashStamps({(job.location.token, job.name) for job in jobs}), jobs

    def names(self, hash_stamps: HashStamps, place: Path) -> set[str]:
        del place
        assert isinstance(hash_stamps, FakeHashStamps)
        return {name for _, name in hash_stamps.files}


class TestCache(Base):
    """The stamps of a real cache."""

    def stamped(self, place: Path) -> tuple[HashStamps, Sequence[HashJob]]:
        pull(CacheDownloadStore(str(place / "hub")))
        return CacheStamps(str(place / "hub")), _jobs(place)

    def names(self, hash_stamps: HashStamps, place: Path) -> set[str]:
        del hash_stamps
        cached_files = CacheDownloadStore(str(place / "hub")).cached_files(FOLDER, COMMIT.commit, COMMIT.files)
        return {cached.file.name for cached in cached_files if cached.state is CachedFileState.VERIFIED}

    def test_a_repo_that_may_not_be_written_keeps_its_stamps(self) -> None:
        with shared_folder() as place:
            hash_stamps, jobs = self.stamped(place)
            with forbidden(place / "hub" / FOLDER / ".mlxk"):
                hash_stamps.discard(jobs)
            assert self.names(hash_stamps, place) == {job.name for job in jobs}

    @pytest.mark.parametrize("part", ["", "/.mlxk"])
    def test_nothing_is_written_through_a_link(self, tmp_path: Path, part: str) -> None:
        hash_stamps, jobs = self.stamped(tmp_path)
        folder = tmp_path / "hub" / f"{FOLDER}{part}"
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "elsewhere").rglob("*")}
        hash_stamps.discard(jobs)
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "elsewhere").rglob("*")} == before


def _jobs(place: Path) -> list[HashJob]:
    repo = str(place / "hub" / FOLDER)
    snapshot = Location(f"{repo}/snapshots/{COMMIT.commit}", (repo,))
    return [HashJob("org/name", snapshot, file.name, file.size, file.hash) for file in COMMIT.files]
