"""The contract of ``ports.proofs``, for the fake and for the cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.adapters.hfcache.proofs import CacheProofs
from mlxknife.domain.models.values.hashes import HashJob
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.transfer.values import CachedFileState
from mlxknife.ports.store.proofs import Proofs
from tests.contracts.arrivals import COMMIT, FOLDER, WEIGHTS, take_in
from tests.contracts.permissions import forbidden, open_place
from tests.fakes.proofs import FakeProofs


class Base(ABC):
    """What every adapter promises."""

    @abstractmethod
    def proven(self, place: Path) -> tuple[Proofs, Sequence[HashJob]]:
        """Return proofs with three files that were proven, as jobs."""

    @abstractmethod
    def known(self, proofs: Proofs, place: Path) -> set[str]:
        """Return the names of the files that count as proven."""

    def test_what_is_withdrawn_is_forgotten_and_the_rest_is_not(self, tmp_path: Path) -> None:
        proofs, jobs = self.proven(tmp_path)
        every = {job.name for job in jobs}
        assert self.known(proofs, tmp_path) == every
        proofs.withdraw(jobs[:1])
        assert self.known(proofs, tmp_path) == every - {jobs[0].name}
        proofs.withdraw(jobs[:1])
        proofs.withdraw([])
        assert self.known(proofs, tmp_path) == every - {jobs[0].name}
        proofs.withdraw(iter(jobs))
        assert self.known(proofs, tmp_path) == set()

    def test_what_was_never_proven_is_nothing_to_forget(self, tmp_path: Path) -> None:
        proofs, jobs = self.proven(tmp_path)
        nowhere = Location(str(tmp_path / "nowhere"), (str(tmp_path / "nowhere"),))
        proofs.withdraw([HashJob("x", nowhere, "x", 1, WEIGHTS.hash)])
        assert self.known(proofs, tmp_path) == {job.name for job in jobs}


class TestFake(Base):
    """Proofs in memory."""

    def proven(self, place: Path) -> tuple[Proofs, Sequence[HashJob]]:
        jobs = _jobs(place)
        return FakeProofs({(job.location.token, job.name) for job in jobs}), jobs

    def known(self, proofs: Proofs, place: Path) -> set[str]:
        del place
        assert isinstance(proofs, FakeProofs)
        return {name for _, name in proofs.known}


class TestCache(Base):
    """The stamps of a real cache."""

    def proven(self, place: Path) -> tuple[Proofs, Sequence[HashJob]]:
        take_in(CacheDownloadStore(str(place / "hub")))
        return CacheProofs(str(place / "hub")), _jobs(place)

    def known(self, proofs: Proofs, place: Path) -> set[str]:
        del proofs
        cached_files = CacheDownloadStore(str(place / "hub")).cached_files(FOLDER, COMMIT.commit, COMMIT.files)
        return {cached.file.name for cached in cached_files if cached.state is CachedFileState.VERIFIED}

    def test_who_may_not_write_changes_nothing(self) -> None:
        with open_place() as place:
            proofs, jobs = self.proven(place)
            with forbidden(place / "hub" / FOLDER / ".mlxk"):
                proofs.withdraw(jobs)
            assert self.known(proofs, place) == {job.name for job in jobs}

    @pytest.mark.parametrize("part", ["", "/.mlxk"])
    def test_nothing_is_written_through_a_link(self, tmp_path: Path, part: str) -> None:
        proofs, jobs = self.proven(tmp_path)
        folder = tmp_path / "hub" / f"{FOLDER}{part}"
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "elsewhere").rglob("*")}
        proofs.withdraw(jobs)
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "elsewhere").rglob("*")} == before


def _jobs(place: Path) -> list[HashJob]:
    repo = str(place / "hub" / FOLDER)
    snapshot = Location(f"{repo}/snapshots/{COMMIT.commit}", (repo,))
    return [HashJob("org/name", snapshot, file.name, file.size, file.hash) for file in COMMIT.files]
