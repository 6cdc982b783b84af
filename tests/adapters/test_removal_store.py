"""Removals in hostile caches, and in caches that may not be changed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache.removal_store import TRASH, CacheRemovalStore
from mlxknife.domain.errors import AccessDenied, LocksPresent, StorageError
from mlxknife.domain.removal.values import Orphan, RemovalTarget, StoredBlob
from tests.builder import BuiltModel, CacheBuilder, Layout, chat_files, commit_of
from tests.contracts.permissions import shared_folder

pytestmark = pytest.mark.timeout(3)
_NOBODY_UID = 65534
_NAME = "org/model"
_FOLDER = "models--org--model"
_OLD, _NEW = commit_of("old"), commit_of("new")
_WHOLE = RemovalTarget(name=_NAME, size_bytes=0, folder=_FOLDER)
_ONE = RemovalTarget(name=_NAME, size_bytes=0, folder=_FOLDER, commit=_OLD, refs=("v1",))
Tree = dict[str, tuple[int, bytes]]


@pytest.fixture
def root() -> Iterator[Path]:
    """Give a cache with a model of two snapshots and another model, beside a folder that must not change."""
    with shared_folder() as place:
        hub = place / "hub"
        two_snapshots(hub)
        CacheBuilder(hub).model("org/other", chat_files(salt="other"))
        (place / "precious").mkdir()
        (place / "precious/file").write_bytes(b"precious")
        yield hub


def two_snapshots(hub: Path) -> BuiltModel:
    cache = CacheBuilder(hub)
    cache.model(_NAME, chat_files(salt="new"), commit=_NEW)
    return cache.model(_NAME, chat_files(salt="old"), commit=_OLD, ref="v1")


def tree(folder: Path, *without: str) -> Tree:
    """Return the mode and the bytes or target of everything below a folder, without following links."""
    return {
        name: (path.lstat().st_mode, _data(path))
        for path in folder.rglob("*")
        if not (name := str(path.relative_to(folder))).startswith(without)
    }


def _data(path: Path) -> bytes:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return os.fsencode(path.readlink())
    return path.read_bytes() if stat.S_ISREG(mode) else b""


def outside(hub: Path) -> Tree:
    """Return everything except the removed model, the locks and the trash."""
    return tree(hub.parent, f"hub/{_FOLDER}", "hub/.locks", f"hub/{TRASH}")


@contextlib.contextmanager
def as_owner(hub: Path) -> Iterator[None]:
    """Run the block as an ordinary user who owns the cache."""
    is_root = os.geteuid() == 0
    with contextlib.ExitStack() as stack:
        for path in (hub, *hub.rglob("*")) if is_root else ():
            os.chown(path, _NOBODY_UID, _NOBODY_UID, follow_symlinks=False)
        if is_root:
            os.seteuid(_NOBODY_UID)
            stack.callback(os.seteuid, 0)
        yield


def trash_item(hub: Path, note: str | None, links: tuple[str, ...] = ()) -> Path:
    """Create a trash item as an interrupted removal of a snapshot leaves it."""
    item = hub / TRASH / "0123456789abcdef"
    (item / "content").mkdir(parents=True)
    for number, target in enumerate(links):
        (item / "content" / str(number)).symlink_to(target)
    if note is not None:
        (item / "note.json").write_text(note)
    return item


@pytest.mark.parametrize("target", [_WHOLE, _ONE], ids=["whole", "one"])
def test_a_cache_that_may_not_be_written_stays_unchanged(root: Path, target: RemovalTarget) -> None:
    before = tree(root)
    store = CacheRemovalStore(str(root))
    with as_owner(root):
        root.chmod(0o555)
        with pytest.raises(AccessDenied), store.lock_exclusive(_FOLDER):
            pytest.fail("the lock was taken")
        with pytest.raises(AccessDenied):
            store.discard(target)
        with pytest.raises(AccessDenied):
            store.discard_orphan(Orphan(_NAME, _FOLDER, StoredBlob("x", 0)))
        store.empty_trash()
        root.chmod(0o755)
    assert tree(root) == before


def test_a_snapshot_that_may_not_be_moved_keeps_its_refs(root: Path) -> None:
    before = tree(root, TRASH)
    with as_owner(root):
        (root / _FOLDER / "snapshots").chmod(0o555)
        with pytest.raises(AccessDenied):
            CacheRemovalStore(str(root)).discard(_ONE)
        (root / _FOLDER / "snapshots").chmod(0o755)
    assert tree(root, TRASH) == before


@pytest.mark.parametrize("mode", [0o000, 0o500, 0o300])
def test_folders_of_any_mode_are_removed_with_their_repo(root: Path, mode: int) -> None:
    inner = root / _FOLDER / "snapshots" / _OLD / "inner/most"
    inner.mkdir(parents=True)
    (inner / "file").write_bytes(b"x")
    before = outside(root)
    with as_owner(root):
        for folder in (inner, inner.parent, root / _FOLDER / "blobs"):
            folder.chmod(mode)
        CacheRemovalStore(str(root)).discard(_WHOLE)
        assert not (root / TRASH).exists()
    assert outside(root) == before


def test_the_lock_of_another_user_is_respected(root: Path) -> None:
    lock = root / ".locks" / _FOLDER / f"{'a' * 64}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file, as_owner(root):
        fcntl.flock(file, fcntl.LOCK_EX)
        lock.chmod(0o444)  # as the lock of another user, which we may only read
        with pytest.raises(LocksPresent), CacheRemovalStore(str(root)).lock_exclusive(_FOLDER):
            pytest.fail("the lock was taken")


@pytest.mark.parametrize(
    "note",
    [
        None, "", "{", "[]", "[" * 100_000, "\ud800", '{"label": "x"}', '{"folder": 1, "commit": 2}',
        *(
            json.dumps({"label": "x", "folder": folder, "commit": commit})
            for folder in ("../..", "..", "", "models--../..", "models--org--other", "models--\0", "models--none", None)
            for commit in ("..", "../../..", _OLD, "", "\0", None)
        ),
    ],
)  # fmt: skip
def test_a_hostile_note_changes_nothing_outside_of_the_trash(root: Path, note: str | None) -> None:
    other = root / "models--org--other"
    needed = [os.readlink(path).rpartition("/")[2] for path in other.glob("snapshots/*/*")]
    before = tree(root.parent, f"hub/{TRASH}", "hub/.locks")
    names = ("..", ".", "", "precious", "../../../precious/file", "config.json", *needed)
    item = trash_item(root, None, tuple(f"../../blobs/{name}" for name in names))
    if note is not None:
        (item / "note.json").write_bytes(note.encode("utf-8", "surrogatepass"))
    store = CacheRemovalStore(str(root))
    assert len(store.trash()) == 1
    store.empty_trash()
    assert tree(root.parent, f"hub/{TRASH}", "hub/.locks") == before
    assert not (root / TRASH).exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "link to a pipe", "folder"])
def test_a_note_that_is_no_file_neither_blocks_nor_is_followed(root: Path, kind: str) -> None:
    secret = root.parent / "precious/secret"
    secret.write_text(json.dumps({"label": "secret", "folder": None, "commit": None}))
    os.mkfifo(root.parent / "pipe")
    note = trash_item(root, None) / "note.json"
    if kind in ("pipe", "folder"):
        (os.mkfifo if kind == "pipe" else os.mkdir)(note)
    else:
        note.symlink_to(secret if kind == "link" else root.parent / "pipe")
    store = CacheRemovalStore(str(root))
    assert [item.label for item in store.trash()] == ["unknown"]
    store.empty_trash()
    assert not (root / TRASH).exists()
    assert secret.exists()


def test_a_trash_item_that_is_no_folder_is_not_followed(root: Path) -> None:
    before = outside(root)
    (trash_item(root, None) / "blobs").symlink_to(root.parent / "precious")
    (root / TRASH / "link").symlink_to(root.parent / "precious")
    (root / TRASH / "file").write_text("x")
    CacheRemovalStore(str(root)).empty_trash()
    assert outside(root) == before


@pytest.mark.parametrize(
    "target",
    ["..", ".", "/", "../../blobs/..", "../../blobs/.", "../../blobs/", "../../snapshots", "../../../../precious/file",
     "a" * 255, "../../blobs/" + "é" * 127, "\udcff"],
)  # fmt: skip
@pytest.mark.parametrize("removed", [_WHOLE, _ONE], ids=["whole", "one"])
def test_a_link_with_a_hostile_target_is_removed_alone(root: Path, target: str, removed: RemovalTarget) -> None:
    (root / _FOLDER / "snapshots" / _OLD / "hostile").symlink_to(target)
    kept = {} if removed is _WHOLE else files_of(root, _NEW)
    before = outside(root)
    store = CacheRemovalStore(str(root))
    store.blob_use(_FOLDER)
    store.discard(removed)
    assert (outside(root), files_of(root, _NEW), store.trash()) == (before, kept, ())
    assert not (root / _FOLDER / "snapshots" / _OLD).exists()


def files_of(hub: Path, commit: str) -> dict[str, bytes]:
    folder = hub / _FOLDER / "snapshots" / commit
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def test_the_blob_of_another_repo_survives(root: Path) -> None:
    other = root / "models--org--other"
    for number, blob in enumerate(other.glob("blobs/*")):
        (root / _FOLDER / "snapshots" / _OLD / str(number)).symlink_to(f"../../../{other.name}/blobs/{blob.name}")
    before = outside(root)
    CacheRemovalStore(str(root)).discard(_ONE)
    assert outside(root) == before


def test_a_blob_that_another_blob_leads_to_is_no_orphan(root: Path) -> None:
    blobs = root / _FOLDER / "blobs"
    link = root / _FOLDER / "snapshots" / _NEW / "config.json"
    blob = link.resolve()
    blob.rename(blobs / "real")
    blob.symlink_to("real")
    store = CacheRemovalStore(str(root))
    store.discard_orphan(Orphan(_NAME, _FOLDER, StoredBlob("real", 0)))
    assert link.exists()


def test_hardlinked_blobs_keep_their_other_names(root: Path) -> None:
    kept = {path.name: path.read_bytes() for path in (root / _FOLDER / "blobs").iterdir()}
    for name in kept:
        os.link(root / _FOLDER / "blobs" / name, root.parent / "precious" / name)
    CacheRemovalStore(str(root)).discard(_WHOLE)
    assert {name: (root.parent / "precious" / name).read_bytes() for name in kept} == kept


@pytest.mark.parametrize("layout", [Layout.SHARED, Layout.PLAIN])
def test_a_snapshot_of_another_layout_is_removed_alone(root: Path, layout: Layout) -> None:
    cache = CacheBuilder(root)
    for commit in (_OLD, _NEW):
        cache.model("org/third", chat_files(salt=commit), layout=layout, commit=commit, ref=None)
    before = tree(root, f"models--org--third/snapshots/{_OLD}", "models--org--third/blobs", ".locks")
    CacheRemovalStore(str(root)).discard(
        RemovalTarget(name="org/third", size_bytes=0, folder="models--org--third", commit=_OLD)
    )
    assert tree(root, "models--org--third/blobs", ".locks") == before
    assert all(path.exists() for path in (root / "models--org--third/snapshots" / _NEW).iterdir())


@pytest.mark.parametrize("missing", [f"snapshots/{_OLD}", "snapshots", ""])
def test_a_target_that_vanished_meanwhile_is_a_storage_error(root: Path, missing: str) -> None:
    (root / _FOLDER / missing).rename(root.parent / "moved")
    before = outside(root)
    with pytest.raises(StorageError):
        CacheRemovalStore(str(root)).discard(_ONE)
    assert (outside(root), CacheRemovalStore(str(root)).trash()) == (before, ())


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "repo link", "root link"])
def test_locks_that_are_no_files_neither_block_nor_are_followed(root: Path, kind: str) -> None:
    locks = root / ".locks" / _FOLDER
    precious = root.parent / "precious"
    names = [path.name for path in (root / _FOLDER / "blobs").iterdir()]
    if kind == "root link":
        locks.parent.symlink_to(precious)
    elif kind == "repo link":
        locks.parent.mkdir()
        locks.symlink_to(precious)
    else:
        locks.mkdir(parents=True)
        make = {"pipe": os.mkfifo, "folder": os.mkdir}.get(kind, lambda path: os.symlink(precious / "new", path))
        for name in names:
            make(locks / f"{name}.lock")
    before, kept = outside(root), files_of(root, _NEW)
    store = CacheRemovalStore(str(root))
    with contextlib.suppress(StorageError), store.lock_exclusive(_FOLDER):
        store.discard(_ONE)
    assert (outside(root), files_of(root, _NEW)) == (before, kept)
    store.discard(RemovalTarget(name="org/other", size_bytes=0, folder="models--org--other"))
    store.empty_trash()  # other removals still work


@pytest.mark.parametrize("part", ["blobs", "snapshots", ""])
def test_the_target_of_a_link_is_neither_listed_nor_counted(root: Path, part: str) -> None:
    (root / _FOLDER / part).rename(root.parent / "moved")
    (root / _FOLDER / part).symlink_to(root.parent / "moved")
    store = CacheRemovalStore(str(root))
    counted = store.size_bytes(_FOLDER)
    assert counted == sum(path.lstat().st_size for path in (root / _FOLDER).rglob("blobs/*") if part == "snapshots")
    with contextlib.suppress(StorageError):
        assert store.blob_use(_FOLDER).blobs == ()
