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
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.removal.values import Orphan, StoredBlob
from mlxknife.ports.system.progress import NoProgress
from tests.contracts.arrivals import FILES, FOLDER, WEIGHTS, never, take_in


@pytest.fixture
def intake(tmp_path: Path) -> CacheDownloadStore:
    return CacheDownloadStore(str(tmp_path / "hub"))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def repo(hub: Path) -> Path:
    return hub / FOLDER


def test_a_guard_keeps_removals_away(intake: CacheDownloadStore, hub: Path) -> None:
    take_in(intake)
    disposal = CacheRemovalStore(str(hub))
    orphan = Orphan("org/name", FOLDER, StoredBlob("x", 1, unfinished=False))
    (hub / FOLDER / "blobs/x").touch()
    with intake.guarded(FOLDER):
        with pytest.raises(LocksPresent), disposal.guarded(FOLDER):
            pytest.fail("it is not ours")
        assert not disposal.discard_orphan(orphan)
        with disposal.guarded("models--org--other"):
            pass
    with disposal.guarded(FOLDER):
        pass
    assert disposal.discard_orphan(orphan)


def test_a_guard_waits_for_a_removal(intake: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    entered = threading.Event()

    def take_in() -> None:
        with intake.guarded(FOLDER):
            entered.set()

    thread = threading.Thread(target=take_in)
    with CacheRemovalStore(str(hub)).guarded(FOLDER):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_who_does_not_want_to_wait_is_refused(intake: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    with CacheRemovalStore(str(hub)).guarded(FOLDER):
        with pytest.raises(LocksPresent), intake.guarded(FOLDER, waits=False):
            pytest.fail("it is not ours")
        assert list(hub.rglob("mlxk.lock"))
    with intake.guarded(FOLDER, waits=False):
        pass


def test_who_waits_long_is_told_once(intake: CacheDownloadStore, hub: Path) -> None:
    hub.mkdir()
    heard, told = threading.Event(), list[str]()

    class Listener(NoProgress):
        def wait(self, reason: str) -> None:
            told.append(reason)
            heard.set()

    def take_in() -> None:
        with intake.guarded(FOLDER, Listener()):
            pass

    thread = threading.Thread(target=take_in)
    with CacheRemovalStore(str(hub)).guarded(FOLDER):
        thread.start()
        assert heard.wait(30)
        assert thread.is_alive()
    thread.join(30)
    assert told == ["waiting for another process that works on this model"]


def test_others_of_the_group_can_take_our_locks(intake: CacheDownloadStore, hub: Path) -> None:
    before = os.umask(0o077)
    try:
        take_in(intake)
    finally:
        os.umask(before)
    locks = list((hub / ".locks").rglob("*.lock"))
    assert len(locks) > len(FILES) - 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in locks} == {0o664}


def test_a_disk_without_locks_is_told(intake: CacheDownloadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, f"{handle} {kind}")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StorageError, match="file locks") as caught, intake.guarded(FOLDER):
        pytest.fail("nothing is held")
    assert caught.value.hint == Hint(HintCode.OTHER_DISK)


def test_no_lock_of_ours_stays(intake: CacheDownloadStore, hub: Path) -> None:
    with intake.guarded(FOLDER):
        with intake.guarded(FOLDER):
            assert list(hub.rglob("mlxk.lock"))
        assert list(hub.rglob("mlxk.lock"))
    assert list(hub.iterdir()) == []
    take_in(intake)
    assert not list(hub.rglob("mlxk.lock"))


def test_what_a_publisher_left_who_was_stopped_is_noticed_and_cleared_by_the_next(
    intake: CacheDownloadStore, repo: Path
) -> None:
    take_in(intake)
    assert not intake.is_untidy(FOLDER)
    (repo / ".mlxk" / "staging" / "half").mkdir(parents=True)
    assert intake.is_untidy(FOLDER)
    take_in(intake)
    assert not intake.is_untidy(FOLDER)


def test_a_pull_that_brought_nothing_leaves_no_model(intake: CacheDownloadStore, hub: Path) -> None:
    with intake.guarded(FOLDER):
        reception = intake.reception(FOLDER, NoProgress(), afresh=False)
        with reception.open(WEIGHTS, never) as sink:
            assert sink is not None
    assert [path.name for path in hub.iterdir() if path.name.startswith("models--")] == []
