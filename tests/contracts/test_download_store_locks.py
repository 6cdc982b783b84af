"""Who takes a model in keeps removals away, waits for those that came first, and leaves no lock behind."""

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
from mlxknife.domain.removal.values import Orphan, StoredBlob
from mlxknife.ports.system.progress import Silence
from tests.contracts.downloads import FILES, FOLDER, WEIGHTS, never, take_in


@pytest.fixture
def download_store(tmp_path: Path) -> CacheDownloadStore:
    return CacheDownloadStore(str(tmp_path / "hub"))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def repo(hub: Path) -> Path:
    return hub / FOLDER


def test_a_guard_keeps_removals_away(download_store: CacheDownloadStore, hub: Path) -> None:
    take_in(download_store)
    removal_store = CacheRemovalStore(str(hub))
    orphan = Orphan("org/name", FOLDER, StoredBlob("x", 1, unfinished=False))
    (hub / FOLDER / "blobs/x").touch()
    with download_store.lock_shared(FOLDER):
        with pytest.raises(LocksPresent), removal_store.lock_exclusive(FOLDER):
            pytest.fail("it is not ours")
        assert not removal_store.discard_orphan(orphan)
        with removal_store.lock_exclusive("models--org--other"):
            pass
    with removal_store.lock_exclusive(FOLDER):
        pass
    assert removal_store.discard_orphan(orphan)


def test_a_guard_waits_for_a_removal(download_store: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    entered = threading.Event()

    def take_in() -> None:
        with download_store.lock_shared(FOLDER):
            entered.set()

    thread = threading.Thread(target=take_in)
    with CacheRemovalStore(str(hub)).lock_exclusive(FOLDER):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_who_does_not_want_to_wait_is_refused(download_store: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    with CacheRemovalStore(str(hub)).lock_exclusive(FOLDER):
        with pytest.raises(LocksPresent), download_store.lock_shared(FOLDER, waits=False):
            pytest.fail("it is not ours")
        assert list(hub.rglob("mlxk.lock"))
    with download_store.lock_shared(FOLDER, waits=False):
        pass


def test_who_waits_long_is_told_once(download_store: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    heard, told = threading.Event(), list[str]()

    class Listener(Silence):
        def wait(self, reason: str) -> None:
            told.append(reason)
            heard.set()

    def take_in() -> None:
        with download_store.lock_shared(FOLDER, Listener()):
            pass

    thread = threading.Thread(target=take_in)
    with CacheRemovalStore(str(hub)).lock_exclusive(FOLDER):
        thread.start()
        assert heard.wait(30)
        assert thread.is_alive()
    thread.join(30)
    assert told == ["waiting for another process that works on this model"]


def test_others_of_the_group_can_take_our_locks(download_store: CacheDownloadStore, hub: Path) -> None:
    before = os.umask(0o077)
    try:
        take_in(download_store)
    finally:
        os.umask(before)
    locks = list((hub / ".locks").rglob("*.lock"))
    assert len(locks) > len(FILES) - 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in locks} == {0o664}


def test_a_disk_without_locks_is_told(download_store: CacheDownloadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, f"{handle} {kind}")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StorageError, match="file locks") as caught, download_store.lock_shared(FOLDER):
        pytest.fail("nothing is held")
    assert "HF_HUB_CACHE" in (caught.value.hint or "")


def test_no_lock_of_ours_stays(download_store: CacheDownloadStore, hub: Path) -> None:
    with download_store.lock_shared(FOLDER):
        with download_store.lock_shared(FOLDER):
            assert list(hub.rglob("mlxk.lock"))
        assert list(hub.rglob("mlxk.lock"))
    assert list(hub.iterdir()) == []
    take_in(download_store)
    assert not list(hub.rglob("mlxk.lock"))


def test_what_a_publisher_left_who_was_stopped_is_noticed_and_cleared_by_the_next(
    download_store: CacheDownloadStore, repo: Path
) -> None:
    take_in(download_store)
    assert not download_store.has_leftovers(FOLDER)
    (repo / ".mlxk" / "staging" / "half").mkdir(parents=True)
    assert download_store.has_leftovers(FOLDER)
    take_in(download_store)
    assert not download_store.has_leftovers(FOLDER)


def test_a_pull_that_brought_nothing_leaves_no_model(download_store: CacheDownloadStore, hub: Path) -> None:
    with download_store.lock_shared(FOLDER):
        publisher = download_store.publisher(FOLDER, Silence(), force_download=False)
        with publisher.open(WEIGHTS, never) as sink:
            assert sink is not None
    assert [path.name for path in hub.iterdir() if path.name.startswith("models--")] == []
