"""The contract of ``ports.hash_stamps``, for the fake and for the cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.adapters.hfcache.stamps import CacheStamps
from mlxknife.domain.models.values.hashes import HashJob
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.transfer.values import Held
from mlxknife.ports.store.hash_stamps import HashStamps
from tests.contracts.downloads import COMMIT, FOLDER, WEIGHTS, take_in
from tests.contracts.permissions import forbidden, open_place
from tests.fakes.hash_stamps import FakeHashStamps


class Base(ABC):
    """What every adapter promises."""

    @abstractmethod
    def proven(self, place: Path) -> tuple[HashStamps, Sequence[HashJob]]:
        """Return hash_stamps with three files that were proven, as jobs."""

    @abstractmethod
    def known(self, hash_stamps: HashStamps, place: Path) -> set[str]:
        """Return the names of the files that count as proven."""

    def test_what_is_withdrawn_is_forgotten_and_the_rest_is_not(self, tmp_path: Path) -> None:
        hash_stamps, jobs = self.proven(tmp_path)
        every = {job.name for job in jobs}
        assert self.known(hash_stamps, tmp_path) == every
        hash_stamps.discard(jobs[:1])
        assert self.known(hash_stamps, tmp_path) == every - {jobs[0].name}
        hash_stamps.discard(jobs[:1])
        hash_stamps.discard([])
        assert self.known(hash_stamps, tmp_path) == every - {jobs[0].name}
        hash_stamps.discard(iter(jobs))
        assert self.known(hash_stamps, tmp_path) == set()

    def test_what_was_never_proven_is_nothing_to_forget(self, tmp_path: Path) -> None:
        hash_stamps, jobs = self.proven(tmp_path)
        nowhere = Location(str(tmp_path / "nowhere"), (str(tmp_path / "nowhere"),))
        hash_stamps.discard([HashJob("x", nowhere, "x", 1, WEIGHTS.hash)])
        assert self.known(hash_stamps, tmp_path) == {job.name for job in jobs}


class TestFake(Base):
    """HashStamps in memory."""

    def proven(self, place: Path) -> tuple[HashStamps, Sequence[HashJob]]:
        jobs = _jobs(place)
        return FakeHashStamps({(job.location.token, job.name) for job in jobs}), jobs

    def known(self, hash_stamps: HashStamps, place: Path) -> set[str]:
        del place
        assert isinstance(hash_stamps, FakeHashStamps)
        return {name for _, name in hash_stamps.known}


class TestCache(Base):
    """The stamps of a real cache."""

    def proven(self, place: Path) -> tuple[HashStamps, Sequence[HashJob]]:
        take_in(CacheDownloadStore(str(place / "hub")))
        return CacheStamps(str(place / "hub")), _jobs(place)

    def known(self, hash_stamps: HashStamps, place: Path) -> set[str]:
        del hash_stamps
        holdings = CacheDownloadStore(str(place / "hub")).holdings(FOLDER, COMMIT.commit, COMMIT.files)
        return {holding.file.name for holding in holdings if holding.held is Held.TRUSTED}

    def test_who_may_not_write_changes_nothing(self) -> None:
        with open_place() as place:
            hash_stamps, jobs = self.proven(place)
            with forbidden(place / "hub" / FOLDER / ".mlxk"):
                hash_stamps.discard(jobs)
            assert self.known(hash_stamps, place) == {job.name for job in jobs}

    @pytest.mark.parametrize("part", ["", "/.mlxk"])
    def test_nothing_is_written_through_a_link(self, tmp_path: Path, part: str) -> None:
        hash_stamps, jobs = self.proven(tmp_path)
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
