"""The lock of a pull: it blocks removals, waits for earlier ones, and leaves no lock file of ours."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.adapters.hfcache.removal_store import CacheRemovalStore
from mlxknife.domain.errors import LocksPresent, StorageError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.removal.values import Orphan, StoredBlob
from mlxknife.ports.system.progress import NoProgress
from tests.contracts.downloads import FILES, FOLDER, WEIGHTS, never, pull


@pytest.fixture
def store(tmp_path: Path) -> CacheDownloadStore:
    return CacheDownloadStore(str(tmp_path / "hub"))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def repo(hub: Path) -> Path:
    return hub / FOLDER


def test_a_shared_lock_blocks_removals(store: CacheDownloadStore, hub: Path) -> None:
    pull(store)
    removal_store = CacheRemovalStore(str(hub))
    orphan = Orphan("org/name", FOLDER, StoredBlob("x", 1, unfinished=False))
    (hub / FOLDER / "blobs/x").touch()
    with store.lock_shared(FOLDER):
        with pytest.raises(LocksPresent), removal_store.lock_exclusive(FOLDER):
            pytest.fail("the lock was taken")
        assert not removal_store.discard_orphan(orphan)
        with removal_store.lock_exclusive("models--org--other"):
            pass
    with removal_store.lock_exclusive(FOLDER):
        pass
    assert removal_store.discard_orphan(orphan)


def test_a_shared_lock_waits_for_a_removal(store: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    entered = threading.Event()

    def wait_for_lock() -> None:
        with store.lock_shared(FOLDER):
            entered.set()

    thread = threading.Thread(target=wait_for_lock)
    with CacheRemovalStore(str(hub)).lock_exclusive(FOLDER):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_without_waiting_a_held_lock_is_locks_present(store: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    with CacheRemovalStore(str(hub)).lock_exclusive(FOLDER):
        with pytest.raises(LocksPresent), store.lock_shared(FOLDER, waits=False):
            pytest.fail("the lock was taken")
        assert list(hub.rglob("mlxk.lock"))
    with store.lock_shared(FOLDER, waits=False):
        pass


def test_a_long_wait_is_reported_once(store: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    is_reported, reasons = threading.Event(), list[str]()

    class WaitProgress(NoProgress):
        def wait(self, reason: str) -> None:
            reasons.append(reason)
            is_reported.set()

    def wait_for_lock() -> None:
        with store.lock_shared(FOLDER, WaitProgress()):
            pass

    thread = threading.Thread(target=wait_for_lock)
    with CacheRemovalStore(str(hub)).lock_exclusive(FOLDER):
        thread.start()
        assert is_reported.wait(30)
        assert thread.is_alive()
    thread.join(30)
    assert reasons == ["waiting for another process that works on this model"]


def test_other_users_of_the_group_can_take_our_locks(store: CacheDownloadStore, hub: Path) -> None:
    before = os.umask(0o077)
    try:
        pull(store)
    finally:
        os.umask(before)
    locks = list((hub / ".locks").rglob("*.lock"))
    assert len(locks) > len(FILES) - 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in locks} == {0o664}


def test_a_disk_without_file_locks_is_an_error(store: CacheDownloadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, f"{handle} {kind}")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StorageError, match="file locks") as caught, store.lock_shared(FOLDER):
        pytest.fail("the lock was taken")
    assert caught.value.hint == Hint(HintCode.OTHER_DISK)


def test_the_repo_lock_file_is_removed_at_the_end(store: CacheDownloadStore, hub: Path) -> None:
    with store.lock_shared(FOLDER):
        with store.lock_shared(FOLDER):
            assert list(hub.rglob("mlxk.lock"))
        assert list(hub.rglob("mlxk.lock"))
    assert list(hub.iterdir()) == []
    pull(store)
    assert not list(hub.rglob("mlxk.lock"))


def test_the_staging_folder_of_a_killed_publisher_is_deleted_by_the_next_one(
    store: CacheDownloadStore, repo: Path
) -> None:
    pull(store)
    assert not store.has_leftovers(FOLDER)
    (repo / ".mlxk" / "staging" / "half").mkdir(parents=True)
    assert store.has_leftovers(FOLDER)
    pull(store)
    assert not store.has_leftovers(FOLDER)


def test_a_pull_that_received_nothing_leaves_no_folder(store: CacheDownloadStore, hub: Path) -> None:
    with store.lock_shared(FOLDER):
        publisher = store.publisher(FOLDER, NoProgress(), force_download=False)
        with publisher.open(WEIGHTS, never) as sink:
            assert sink is not None
    assert [path.name for path in hub.iterdir() if path.name.startswith("models--")] == []
