"""What every ``RemovalStore`` promises."""

from __future__ import annotations

import fcntl
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache.removal_store import TRASH, CacheRemovalStore
from mlxknife.domain.errors import AccessDenied, LocksPresent, StorageError
from mlxknife.domain.removal.values import Orphan, RemovalTarget, StoredBlob, TrashItem
from mlxknife.ports.store.removal_store import RemovalStore
from tests.contracts.permissions import forbidden
from tests.fakes.disposal import FakeDisposal, StoredRepo

_OLD, _NEW = "a" * 40, "b" * 40
_FOLDER, _OTHER = "models--org--name", "models--org--other"
_STALE, _DATED = "stale.incomplete", "dated.0a1b2c3d.incomplete"
_REPO = StoredRepo(
    blobs={"both": 100, "old": 10, "new": 1, "orphan": 1_000, _STALE: 10_000, _DATED: 100_000},
    snapshots={_OLD: {"x": "both", "sub/y": "old"}, _NEW: {"x": "both", "y": "new"}},
    refs={"main": _NEW, "v1": _OLD, "pr/1": _OLD},
)
_SCENE = {_FOLDER: _REPO, _OTHER: StoredRepo(blobs={"old": 7, "own": 8}, snapshots={_OLD: {"x": "old", "y": "own"}})}
_WHOLE = RemovalTarget(name="org/name", size_bytes=0, folder=_FOLDER)
_ONE = RemovalTarget(name="org/name", size_bytes=0, folder=_FOLDER, commit=_OLD, refs=("v1", "pr/1"))


def _blobs(disposal: RemovalStore, folder: str = _FOLDER) -> dict[str, int]:
    return {blob.name: blob.size for blob in disposal.blob_use(folder).blobs}


def _orphan(name: str) -> Orphan:
    return Orphan("org/name", _FOLDER, StoredBlob(name, 0, name.endswith(".incomplete")))


class Contract(ABC):
    @abstractmethod
    def opened(self, scene: Mapping[str, StoredRepo], place: Path) -> RemovalStore:
        """Return a disposal over a scene."""

    @abstractmethod
    def refs(self, disposal: RemovalStore, place: Path) -> set[str]:
        """Return the refs that the repo has."""

    @abstractmethod
    def locking(self, disposal: RemovalStore, place: Path, folder: str, etag: str) -> AbstractContextManager[None]:
        """Download a blob."""

    @abstractmethod
    def denying(self, disposal: RemovalStore, place: Path) -> AbstractContextManager[None]:
        """Take away the right to change the cache."""

    @abstractmethod
    def interrupt(self, disposal: RemovalStore, place: Path) -> None:
        """Leave a removal of ``org/gone`` and its 5 bytes behind."""

    def test_the_use_of_blobs_is_told(self, place: Path) -> None:
        use = self.opened(_SCENE, place).blob_use(_FOLDER)
        assert use.folder == _FOLDER
        assert {blob.name: blob.size for blob in use.blobs} == _REPO.blobs
        assert {blob.name for blob in use.blobs if blob.unfinished} == {_STALE, _DATED}
        assert use.used_by == {_OLD: {"both", "old"}, _NEW: {"both", "new"}}

    def test_a_repo_that_is_not_there_uses_nothing(self, place: Path) -> None:
        disposal = self.opened({}, place)
        use = disposal.blob_use(_FOLDER)
        assert (use.blobs, use.used_by, disposal.size_bytes(_FOLDER)) == ((), {}, 0)

    def test_sizes(self, place: Path) -> None:
        disposal = self.opened({_FOLDER: _REPO, _OTHER: StoredRepo(snapshots={_OLD: {}}, plain={_OLD: 12})}, place)
        assert disposal.size_bytes(_FOLDER) == sum(_REPO.blobs.values())
        assert disposal.size_bytes(_FOLDER, _OLD) == 0
        assert disposal.size_bytes(_OTHER) == 12
        assert disposal.size_bytes(_OTHER, _OLD) == 12
        assert disposal.size_bytes(_OTHER, _NEW) == 0

    def test_a_repo_goes_and_another_stays(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        other = disposal.blob_use(_OTHER)
        with disposal.guarded(_FOLDER):
            disposal.discard(_WHOLE)
        assert disposal.blob_use(_FOLDER).used_by == {}
        assert (_blobs(disposal), disposal.size_bytes(_FOLDER), disposal.trash()) == ({}, 0, ())
        assert disposal.blob_use(_OTHER) == other

    def test_a_snapshot_takes_its_refs_and_the_blobs_that_only_it_needs(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        other = disposal.blob_use(_OTHER)
        with disposal.guarded(_FOLDER):
            disposal.discard(_ONE)
        assert disposal.blob_use(_FOLDER).used_by == {_NEW: {"both", "new"}}
        assert _blobs(disposal) == {name: size for name, size in _REPO.blobs.items() if name != "old"}
        assert (self.refs(disposal, place), disposal.trash()) == ({"main"}, ())
        assert disposal.blob_use(_OTHER) == other

    def test_snapshots_one_after_the_other_leave_only_orphans(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        disposal.discard(_ONE)
        disposal.discard(RemovalTarget(name="org/name", size_bytes=0, folder=_FOLDER, commit=_NEW, refs=("main",)))
        assert set(_blobs(disposal)) == {"orphan", _STALE, _DATED}
        assert self.refs(disposal, place) == set()

    @pytest.mark.parametrize(
        "target",
        [
            RemovalTarget(name="x", size_bytes=0, folder="models--no--such"),
            RemovalTarget(name="x", size_bytes=0, folder=_FOLDER, commit="c" * 40),
        ],
    )
    def test_what_is_not_there_is_a_storage_error(self, place: Path, target: RemovalTarget) -> None:
        disposal = self.opened(_SCENE, place)
        with pytest.raises(StorageError):
            disposal.discard(target)
        assert (_blobs(disposal), disposal.trash()) == (_REPO.blobs, ())

    def test_what_is_not_in_the_cache_is_a_defect(self, place: Path) -> None:
        with pytest.raises(ValueError, match="cache"):
            self.opened({}, place).discard(RemovalTarget(name="mine", size_bytes=0, workspace="/mine"))

    def test_a_live_lock_keeps_a_repo(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        with self.locking(disposal, place, _FOLDER, "old"):
            with pytest.raises(LocksPresent) as caught, disposal.guarded(_FOLDER):
                pytest.fail("it is not ours")
            assert caught.value.lock_files == (f".locks/{_FOLDER}/old.lock",)
            with pytest.raises(LocksPresent):
                disposal.discard(_WHOLE)
            with disposal.guarded(_OTHER):
                pass
            assert (_blobs(disposal), disposal.trash()) == (_REPO.blobs, ())
            assert self.refs(disposal, place) == set(_REPO.refs)
        with disposal.guarded(_FOLDER):
            disposal.discard(_WHOLE)

    def test_a_guard_ends_also_after_an_error(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), disposal.guarded(_FOLDER):
                raise ZeroDivisionError

    def test_a_blob_that_is_downloaded_again_outlives_its_snapshot(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        with self.locking(disposal, place, _FOLDER, "old"):
            disposal.discard(_ONE)
            assert "old" in _blobs(disposal)
        assert disposal.discard_orphan(_orphan("old"))

    @pytest.mark.parametrize("name", ["orphan", _STALE, _DATED])
    def test_an_orphan_goes(self, place: Path, name: str) -> None:
        disposal = self.opened(_SCENE, place)
        assert disposal.discard_orphan(_orphan(name))
        assert _blobs(disposal) == {other: size for other, size in _REPO.blobs.items() if other != name}
        assert not disposal.discard_orphan(_orphan(name))
        assert disposal.trash() == ()

    @pytest.mark.parametrize("name", ["both", "old", "new", "nothing"])
    def test_a_needed_blob_is_no_orphan(self, place: Path, name: str) -> None:
        disposal = self.opened(_SCENE, place)
        assert not disposal.discard_orphan(_orphan(name))
        assert (_blobs(disposal), disposal.trash()) == (_REPO.blobs, ())

    @pytest.mark.parametrize(("name", "etag"), [("orphan", "orphan"), (_STALE, "stale"), (_DATED, "dated")])
    def test_a_blob_that_somebody_downloads_is_no_orphan(self, place: Path, name: str, etag: str) -> None:
        disposal = self.opened(_SCENE, place)
        with self.locking(disposal, place, _FOLDER, etag):
            assert not disposal.discard_orphan(_orphan(name))
        assert _blobs(disposal) == _REPO.blobs
        assert disposal.discard_orphan(_orphan(name))

    def test_what_was_interrupted_is_told_and_finished(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        self.interrupt(disposal, place)
        assert [(item.label, item.size_bytes) for item in disposal.trash()] == [("org/gone", 5)]
        disposal.empty_trash()
        assert disposal.trash() == ()
        assert _blobs(disposal) == _REPO.blobs

    def test_a_trash_with_nothing_in_it_is_emptied_gladly(self, place: Path) -> None:
        disposal = self.opened({}, place)
        assert disposal.trash() == ()
        disposal.empty_trash()

    def test_who_may_not_is_told(self, place: Path) -> None:
        disposal = self.opened(_SCENE, place)
        with self.denying(disposal, place):
            for target in (_WHOLE, _ONE):
                with pytest.raises(AccessDenied):
                    disposal.discard(target)
            with pytest.raises(AccessDenied):
                disposal.discard_orphan(_orphan("orphan"))
            assert disposal.trash() == ()
        assert (_blobs(disposal), self.refs(disposal, place)) == (_REPO.blobs, set(_REPO.refs))


class TestFake(Contract):
    def opened(self, scene: Mapping[str, StoredRepo], place: Path) -> RemovalStore:
        del place
        return FakeDisposal(repos=dict(scene))

    def refs(self, disposal: RemovalStore, place: Path) -> set[str]:
        del place
        assert isinstance(disposal, FakeDisposal)
        return set(disposal.repos[_FOLDER].refs)

    @contextmanager
    def locking(self, disposal: RemovalStore, place: Path, folder: str, etag: str) -> Iterator[None]:
        del place
        assert isinstance(disposal, FakeDisposal)
        disposal.locks.add((folder, etag))
        yield
        disposal.locks.clear()

    @contextmanager
    def denying(self, disposal: RemovalStore, place: Path) -> Iterator[None]:
        del place
        assert isinstance(disposal, FakeDisposal)
        disposal.is_denied = True
        yield
        disposal.is_denied = False

    def interrupt(self, disposal: RemovalStore, place: Path) -> None:
        del place
        assert isinstance(disposal, FakeDisposal)
        disposal.interrupted.append(TrashItem("0", "org/gone", 5))


class TestReal(Contract):
    def opened(self, scene: Mapping[str, StoredRepo], place: Path) -> RemovalStore:
        for folder, repo in scene.items():
            _write(place / "hub" / folder, repo)
        return CacheRemovalStore(str(place / "hub"))

    def refs(self, disposal: RemovalStore, place: Path) -> set[str]:
        del disposal
        refs = place / "hub" / _FOLDER / "refs"
        return {str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file()}

    @contextmanager
    def locking(self, disposal: RemovalStore, place: Path, folder: str, etag: str) -> Iterator[None]:
        del disposal
        lock = place / "hub/.locks" / folder / f"{etag}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def denying(self, disposal: RemovalStore, place: Path) -> AbstractContextManager[None]:
        del disposal
        return forbidden(place / "hub")

    def interrupt(self, disposal: RemovalStore, place: Path) -> None:
        del disposal
        item = place / "hub" / TRASH / "0123"
        (item / "content/snapshots").mkdir(parents=True)
        (item / "content/snapshots/config.json").write_bytes(bytes(5))
        (item / "note.json").write_text(
            json.dumps({"label": "org/gone", "folder": "models--org--gone", "commit": None})
        )

    def test_nothing_is_left_on_the_disk(self, place: Path) -> None:
        disposal = self.opened({_FOLDER: _REPO}, place)
        with disposal.guarded(_FOLDER):
            disposal.discard(_WHOLE)
        assert os.listdir(place / "hub") == []

    def test_two_guards_exclude_one_another(self, place: Path) -> None:
        disposal, other = self.opened(_SCENE, place), CacheRemovalStore(str(place / "hub"))
        with disposal.guarded(_FOLDER), pytest.raises(LocksPresent), other.guarded(_FOLDER):
            pytest.fail("it is not ours")


def _write(folder: Path, repo: StoredRepo) -> None:
    for name, size in repo.blobs.items():
        _put(folder / "blobs" / name, bytes(size))
    for commit, files in repo.snapshots.items():
        (folder / "snapshots" / commit).mkdir(parents=True)
        for file, blob in files.items():
            link = folder / "snapshots" / commit / file
            link.parent.mkdir(exist_ok=True)
            link.symlink_to("../" * (file.count("/") + 2) + f"blobs/{blob}")
    for commit, size in repo.plain.items():
        _put(folder / "snapshots" / commit / "plain", bytes(size))
    for name, commit in repo.refs.items():
        _put(folder / "refs" / name, commit.encode())


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
