"""Removals on a disk whose reads or deletions fail: nothing that may be needed is removed."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlxknife.adapters.hfcache.model_store import CacheModelStore
from mlxknife.adapters.hfcache.removal_store import TRASH, CacheRemovalStore
from mlxknife.adapters.workspaces.workspaces import LocalWorkspaces
from mlxknife.domain.errors import LocksPresent, StorageError
from mlxknife.domain.names.services import Finder
from mlxknife.domain.removal.services import Remover
from mlxknife.domain.removal.values import Leftovers, Orphan, RemovalTarget, StoredBlob
from tests.builder import CacheBuilder, chat_files, commit_of

_NAME, _FOLDER = "org/model", "models--org--model"
_OLD, _NEW = commit_of("old"), commit_of("new")
_ONE = RemovalTarget(name=_NAME, size_bytes=0, folder=_FOLDER, commit=_OLD, refs=("v1", "v2"))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    root = tmp_path / "hub"
    cache = CacheBuilder(root)
    cache.model(_NAME, chat_files(salt="new") | {"extra/notes.txt": b"new"}, commit=_NEW)
    cache.model(_NAME, chat_files(salt="old") | {"extra/notes.txt": b"old"}, commit=_OLD, ref="v1")
    (root / _FOLDER / "refs/v2").write_text(_OLD)
    return root


def files(hub: Path, commit: str) -> dict[str, bytes]:
    snapshot = hub / _FOLDER / "snapshots" / commit
    return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}


def remover(hub: Path) -> Remover:
    store, workspaces = CacheModelStore(str(hub)), LocalWorkspaces(str(hub.parent / "home"))
    return Remover(Finder(store, workspaces), store, CacheRemovalStore(str(hub)), workspaces)


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, call: str, place: str, at: int) -> Iterator[list[str]]:
    """Make one call on a path fail, counted from 0; yield the paths that failed."""
    real: Callable[..., Any] = getattr(os, call)
    count, failed = itertools.count(), list[str]()

    def fail_once(path: Any, *rest: object, **named: object) -> object:  # noqa: ANN401 - as in os
        if isinstance(path, str) and place in path and next(count) == at:
            failed.append(path)
            raise OSError(errno.EIO, "the disk says no", path)
        return real(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail_once)
        yield failed


def attempts(hub: Path) -> Iterator[tuple[int, Path]]:
    """Yield ascending numbers, each with a fresh copy of the cache."""
    for at in range(200):
        copy = hub.parent / f"copy{at}"
        shutil.copytree(hub, copy, symlinks=True)
        yield at, copy
    pytest.fail("the calls did not end")


@pytest.mark.parametrize("call", ["scandir", "readlink"])
def test_a_blob_stays_when_its_snapshot_cannot_be_read_in_part(
    hub: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    kept = files(hub, _NEW)
    blob = (hub / _FOLDER / "snapshots" / _NEW / "extra/notes.txt").resolve()
    orphan = Orphan(_NAME, _FOLDER, StoredBlob(blob.name, blob.stat().st_size))
    for at, copy in attempts(hub):
        with failing(monkeypatch, call, f"/snapshots/{_NEW}", at) as failed:
            assert not CacheRemovalStore(str(copy)).discard_orphan(orphan)
        assert files(copy, _NEW) == kept
        if not failed:
            break
    assert at > 0


@pytest.mark.parametrize("call", ["scandir", "readlink"])
def test_a_repo_that_cannot_be_read_has_no_orphans(hub: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    for at, copy in attempts(hub):
        with failing(monkeypatch, call, "/snapshots/", at) as failed:
            assert remover(copy).leftovers() == Leftovers((), ())
        if not failed:
            break
    assert at > 1


@pytest.mark.parametrize("call", ["scandir", "readlink"])
def test_removing_one_revision_keeps_the_other_when_reads_fail(
    hub: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    kept = files(hub, _NEW)
    for at, copy in attempts(hub):
        with failing(monkeypatch, call, "/", at) as failed:
            try:
                CacheRemovalStore(str(copy)).discard(_ONE)
            except StorageError as error:
                assert "says no" in error.message  # noqa: PT017 - it may also succeed
        assert files(copy, _NEW) == kept
        rest = remover(copy)
        rest.sweep(rest.leftovers())
        assert files(copy, _NEW) == kept
        assert rest.leftovers() == Leftovers((), ())
        if not failed:
            break
    assert at > 1


@pytest.mark.parametrize("at", [0, 1])
def test_a_ref_that_cannot_be_removed_keeps_its_snapshot_and_the_other_refs(
    hub: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    kept = files(hub, _OLD)
    with failing(monkeypatch, "unlink", "/refs/", at) as failed, pytest.raises(StorageError):
        CacheRemovalStore(str(hub)).discard(_ONE)
    assert failed
    assert [(hub / _FOLDER / "refs" / name).read_text() for name in ("v1", "v2")] == [_OLD, _OLD]
    assert files(hub, _OLD) == kept
    assert not (hub / TRASH).exists()


def test_a_trash_item_that_cannot_be_deleted_stays_reported_and_stops_no_removal(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stuck", "other"):
        (hub / TRASH / name / "content").mkdir(parents=True)
        (hub / TRASH / name / "note.json").write_text(f'{{"label": "{name}", "folder": null, "commit": null}}')
    real = os.rmdir

    def rmdir(path: str, **named: Any) -> None:  # noqa: ANN401 - as in os
        if str(path).endswith("stuck/content") or (path == "content" and "dir_fd" in named):
            raise OSError(errno.EPERM, "immutable", path)
        real(path, **named)

    monkeypatch.setattr(os, "rmdir", rmdir)
    rest = remover(hub)
    rest.execute(rest.plan(f"{_NAME}@v1"))
    assert [item.label for item in CacheRemovalStore(str(hub)).trash()] == ["stuck"]
    with pytest.raises(StorageError, match="trash"):
        rest.sweep(rest.leftovers())


def nest(folder: Path, depth: int) -> None:
    """Create nested folders, deeper than the longest path."""
    here = os.open(folder, os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        above, here = here, os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(above)
    os.close(here)


def test_folders_deeper_than_the_path_limit_are_removed_with_their_repo(hub: Path) -> None:
    nest(hub / _FOLDER / "snapshots" / _OLD, 3000)
    kept = files(hub, _NEW)
    rest = remover(hub)
    assert rest.leftovers() == Leftovers((), ())
    with pytest.raises(StorageError):
        rest.plan(f"{_NAME}@{_OLD}")  # the blobs that it needs cannot be read
    CacheRemovalStore(str(hub)).discard(_ONE)
    assert files(hub, _NEW) == kept
    assert not (hub / TRASH).exists()
    rest.sweep(rest.leftovers())
    assert files(hub, _NEW) == kept
    nest(hub / _FOLDER / "snapshots" / _NEW, 3000)
    rest.execute(rest.plan(_NAME))
    assert [path.name for path in hub.iterdir() if path.name != ".locks"] == []


def test_the_listing_of_a_revision_is_removed_with_it(hub: Path) -> None:
    (hub / _FOLDER / "trees").mkdir()
    for commit in (_OLD, _NEW):
        (hub / _FOLDER / "trees" / f"{commit}.json").write_text("{}")
    CacheRemovalStore(str(hub)).discard(_ONE)
    assert [path.name for path in (hub / _FOLDER / "trees").iterdir()] == [f"{_NEW}.json"]


def test_a_running_download_is_no_leftover(hub: Path) -> None:
    for name in ("feed.incomplete", "cafe.0a1b2c3d.incomplete", "dead.incomplete"):
        (hub / _FOLDER / "blobs" / name).write_bytes(b"half")
    locks = hub / ".locks" / _FOLDER
    locks.mkdir(parents=True)
    with (locks / "feed.lock").open("w") as one, (locks / "cafe.lock").open("w") as two:
        for lock in (one, two):
            fcntl.flock(lock, fcntl.LOCK_EX)
        assert [orphan.blob.name for orphan in remover(hub).leftovers().orphans] == ["dead.incomplete"]
    assert len(remover(hub).leftovers().orphans) == 3


def test_a_repo_with_a_running_pull_has_no_leftovers(hub: Path) -> None:
    (hub / _FOLDER / "blobs" / "ab").write_bytes(b"not linked yet")
    locks = hub / ".locks" / _FOLDER
    locks.mkdir(parents=True)
    with (locks / "mlxk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert remover(hub).leftovers() == Leftovers((), ())
    assert len(remover(hub).leftovers().orphans) == 1


def test_a_download_that_created_the_folder_again_is_locks_present(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after the rename of the repo's folder, another process locks a blob and creates the folder again."""
    real, repo, locks = os.rename, hub / _FOLDER, hub / ".locks" / _FOLDER
    with (hub / "lock").open("w") as lock:

        def rename(old: str, new: str) -> None:
            real(old, new)
            if old == str(repo):
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.link(hub / "lock", locks / "feed.lock")
                (repo / "blobs").mkdir(parents=True)

        monkeypatch.setattr(os, "rename", rename)
        store = CacheRemovalStore(str(hub))
        with store.lock_exclusive(_FOLDER), pytest.raises(LocksPresent):
            store.discard(RemovalTarget(name=_NAME, size_bytes=0, folder=_FOLDER))
    assert (repo / "blobs").is_dir()
    assert [item.label for item in store.trash()] == [_NAME]
