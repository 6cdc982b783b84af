"""The contract of ``RemovalStore``."""

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
from tests.fakes.removal_store import FakeRemovalStore, StoredRepo

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


def _blobs(store: RemovalStore, folder: str = _FOLDER) -> dict[str, int]:
    return {blob.name: blob.size for blob in store.blob_use(folder).blobs}


def _orphan(name: str) -> Orphan:
    return Orphan("org/name", _FOLDER, StoredBlob(name, 0, name.endswith(".incomplete")))


class Contract(ABC):
    @abstractmethod
    def opened(self, scene: Mapping[str, StoredRepo], place: Path) -> RemovalStore:
        """Return a removal store over a cache with these repos."""

    @abstractmethod
    def refs(self, store: RemovalStore, place: Path) -> set[str]:
        """Return the refs that the repo has."""

    @abstractmethod
    def locking(self, store: RemovalStore, place: Path, folder: str, etag: str) -> AbstractContextManager[None]:
        """Hold the lock of a blob, as a running download does."""

    @abstractmethod
    def denying(self, store: RemovalStore, place: Path) -> AbstractContextManager[None]:
        """Make the cache read-only."""

    @abstractmethod
    def interrupt(self, store: RemovalStore, place: Path) -> None:
        """Leave a removal of ``org/gone`` and its 5 bytes behind."""

    def test_blob_use_lists_blobs_and_what_snapshots_need(self, place: Path) -> None:
        use = self.opened(_SCENE, place).blob_use(_FOLDER)
        assert use.folder == _FOLDER
        assert {blob.name: blob.size for blob in use.blobs} == _REPO.blobs
        assert {blob.name for blob in use.blobs if blob.unfinished} == {_STALE, _DATED}
        assert use.used_by == {_OLD: {"both", "old"}, _NEW: {"both", "new"}}

    def test_a_missing_repo_uses_nothing(self, place: Path) -> None:
        store = self.opened({}, place)
        use = store.blob_use(_FOLDER)
        assert (use.blobs, use.used_by, store.size_bytes(_FOLDER)) == ((), {}, 0)

    def test_sizes(self, place: Path) -> None:
        store = self.opened({_FOLDER: _REPO, _OTHER: StoredRepo(snapshots={_OLD: {}}, plain={_OLD: 12})}, place)
        assert store.size_bytes(_FOLDER) == sum(_REPO.blobs.values())
        assert store.size_bytes(_FOLDER, _OLD) == 0
        assert store.size_bytes(_OTHER) == 12
        assert store.size_bytes(_OTHER, _OLD) == 12
        assert store.size_bytes(_OTHER, _NEW) == 0

    def test_a_repo_is_removed_and_another_stays(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        other = store.blob_use(_OTHER)
        with store.lock_exclusive(_FOLDER):
            store.discard(_WHOLE)
        assert store.blob_use(_FOLDER).used_by == {}
        assert (_blobs(store), store.size_bytes(_FOLDER), store.trash()) == ({}, 0, ())
        assert store.blob_use(_OTHER) == other

    def test_a_snapshot_takes_its_refs_and_the_blobs_that_only_it_needs(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        other = store.blob_use(_OTHER)
        with store.lock_exclusive(_FOLDER):
            store.discard(_ONE)
        assert store.blob_use(_FOLDER).used_by == {_NEW: {"both", "new"}}
        assert _blobs(store) == {name: size for name, size in _REPO.blobs.items() if name != "old"}
        assert (self.refs(store, place), store.trash()) == ({"main"}, ())
        assert store.blob_use(_OTHER) == other

    def test_snapshots_one_after_the_other_leave_only_orphans(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        store.discard(_ONE)
        store.discard(RemovalTarget(name="org/name", size_bytes=0, folder=_FOLDER, commit=_NEW, refs=("main",)))
        assert set(_blobs(store)) == {"orphan", _STALE, _DATED}
        assert self.refs(store, place) == set()

    @pytest.mark.parametrize(
        "target",
        [
            RemovalTarget(name="x", size_bytes=0, folder="models--no--such"),
            RemovalTarget(name="x", size_bytes=0, folder=_FOLDER, commit="c" * 40),
        ],
    )
    def test_a_missing_target_is_a_storage_error(self, place: Path, target: RemovalTarget) -> None:
        store = self.opened(_SCENE, place)
        with pytest.raises(StorageError):
            store.discard(target)
        assert (_blobs(store), store.trash()) == (_REPO.blobs, ())

    def test_a_target_outside_of_the_cache_is_a_value_error(self, place: Path) -> None:
        with pytest.raises(ValueError, match="cache"):
            self.opened({}, place).discard(RemovalTarget(name="mine", size_bytes=0, workspace="/mine"))

    def test_a_live_lock_prevents_the_removal_of_a_repo(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        with self.locking(store, place, _FOLDER, "old"):
            with pytest.raises(LocksPresent) as caught, store.lock_exclusive(_FOLDER):
                pytest.fail("the lock was taken")
            assert caught.value.lock_files == (f".locks/{_FOLDER}/old.lock",)
            with pytest.raises(LocksPresent):
                store.discard(_WHOLE)
            with store.lock_exclusive(_OTHER):
                pass
            assert (_blobs(store), store.trash()) == (_REPO.blobs, ())
            assert self.refs(store, place) == set(_REPO.refs)
        with store.lock_exclusive(_FOLDER):
            store.discard(_WHOLE)

    def test_the_lock_is_released_after_an_error(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), store.lock_exclusive(_FOLDER):
                raise ZeroDivisionError

    def test_a_blob_that_is_downloaded_again_outlives_its_snapshot(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        with self.locking(store, place, _FOLDER, "old"):
            store.discard(_ONE)
            assert "old" in _blobs(store)
        assert store.discard_orphan(_orphan("old"))

    @pytest.mark.parametrize("name", ["orphan", _STALE, _DATED])
    def test_an_orphan_is_removed(self, place: Path, name: str) -> None:
        store = self.opened(_SCENE, place)
        assert store.discard_orphan(_orphan(name))
        assert _blobs(store) == {other: size for other, size in _REPO.blobs.items() if other != name}
        assert not store.discard_orphan(_orphan(name))
        assert store.trash() == ()

    @pytest.mark.parametrize("name", ["both", "old", "new", "nothing"])
    def test_a_needed_blob_is_no_orphan(self, place: Path, name: str) -> None:
        store = self.opened(_SCENE, place)
        assert not store.discard_orphan(_orphan(name))
        assert (_blobs(store), store.trash()) == (_REPO.blobs, ())

    @pytest.mark.parametrize(("name", "etag"), [("orphan", "orphan"), (_STALE, "stale"), (_DATED, "dated")])
    def test_a_blob_that_is_being_downloaded_is_no_orphan(self, place: Path, name: str, etag: str) -> None:
        store = self.opened(_SCENE, place)
        with self.locking(store, place, _FOLDER, etag):
            assert not store.discard_orphan(_orphan(name))
        assert _blobs(store) == _REPO.blobs
        assert store.discard_orphan(_orphan(name))

    def test_an_interrupted_removal_is_reported_and_finished(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        self.interrupt(store, place)
        assert [(item.label, item.size_bytes) for item in store.trash()] == [("org/gone", 5)]
        store.empty_trash()
        assert store.trash() == ()
        assert _blobs(store) == _REPO.blobs

    def test_an_empty_trash_can_be_emptied(self, place: Path) -> None:
        store = self.opened({}, place)
        assert store.trash() == ()
        store.empty_trash()

    def test_a_cache_that_may_not_be_written_is_denied_and_loses_nothing(self, place: Path) -> None:
        store = self.opened(_SCENE, place)
        with self.denying(store, place):
            for target in (_WHOLE, _ONE):
                with pytest.raises(AccessDenied):
                    store.discard(target)
            with pytest.raises(AccessDenied):
                store.discard_orphan(_orphan("orphan"))
            assert store.trash() == ()
        assert (_blobs(store), self.refs(store, place)) == (_REPO.blobs, set(_REPO.refs))


class TestFake(Contract):
    def opened(self, scene: Mapping[str, StoredRepo], place: Path) -> RemovalStore:
        del place
        return FakeRemovalStore(repos=dict(scene))

    def refs(self, store: RemovalStore, place: Path) -> set[str]:
        del place
        assert isinstance(store, FakeRemovalStore)
        return set(store.repos[_FOLDER].refs)

    @contextmanager
    def locking(self, store: RemovalStore, place: Path, folder: str, etag: str) -> Iterator[None]:
        del place
        assert isinstance(store, FakeRemovalStore)
        store.locks.add((folder, etag))
        yield
        store.locks.clear()

    @contextmanager
    def denying(self, store: RemovalStore, place: Path) -> Iterator[None]:
        del place
        assert isinstance(store, FakeRemovalStore)
        store.is_denied = True
        yield
        store.is_denied = False

    def interrupt(self, store: RemovalStore, place: Path) -> None:
        del place
        assert isinstance(store, FakeRemovalStore)
        store.interrupted.append(TrashItem("0", "org/gone", 5))


class TestReal(Contract):
    def opened(self, scene: Mapping[str, StoredRepo], place: Path) -> RemovalStore:
        for folder, repo in scene.items():
            _write(place / "hub" / folder, repo)
        return CacheRemovalStore(str(place / "hub"))

    def refs(self, store: RemovalStore, place: Path) -> set[str]:
        del store
        refs = place / "hub" / _FOLDER / "refs"
        return {str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file()}

    @contextmanager
    def locking(self, store: RemovalStore, place: Path, folder: str, etag: str) -> Iterator[None]:
        del store
        lock = place / "hub/.locks" / folder / f"{etag}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def denying(self, store: RemovalStore, place: Path) -> AbstractContextManager[None]:
        del store
        return forbidden(place / "hub")

    def interrupt(self, store: RemovalStore, place: Path) -> None:
        del store
        item = place / "hub" / TRASH / "0123"
        (item / "content/snapshots").mkdir(parents=True)
        (item / "content/snapshots/config.json").write_bytes(bytes(5))
        (item / "note.json").write_text(
            json.dumps({"label": "org/gone", "folder": "models--org--gone", "commit": None})
        )

    def test_nothing_is_left_on_the_disk(self, place: Path) -> None:
        store = self.opened({_FOLDER: _REPO}, place)
        with store.lock_exclusive(_FOLDER):
            store.discard(_WHOLE)
        assert os.listdir(place / "hub") == []

    def test_two_exclusive_locks_exclude_each_other(self, place: Path) -> None:
        store, other = self.opened(_SCENE, place), CacheRemovalStore(str(place / "hub"))
        with store.lock_exclusive(_FOLDER), pytest.raises(LocksPresent), other.lock_exclusive(_FOLDER):
            pytest.fail("the lock was taken")


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
