"""The download store on a real disk: no link is written through, and huggingface_hub reads the result."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import _tree_cache, scan_cache_dir

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.domain.errors import DownloadFailed, StorageError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.transfer.values import CachedFileState, RemoteCommit, RemoteFile
from tests.contracts.downloads import COMMIT, FILES, FOLDER, WEIGHTS, download, held, publish, pull, shown
from tests.fakes.hub import InMemoryHub


@pytest.fixture
def store(tmp_path: Path) -> CacheDownloadStore:
    return CacheDownloadStore(str(tmp_path / "hub"))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def repo(hub: Path) -> Path:
    return hub / FOLDER


@pytest.fixture
def partial(repo: Path) -> Path:
    (repo / "blobs").mkdir(parents=True)
    return repo / "blobs" / f"{WEIGHTS.hash.digest}.incomplete"


# --- huggingface_hub reads the cache


def test_huggingface_hub_reads_the_listing(store: CacheDownloadStore, repo: Path) -> None:
    hub = InMemoryHub()
    commit = hub.commit("org/name", hub.add("org/name", FILES))
    large, *small = commit.files
    large = RemoteFile(large.name, large.size, large.hash, large.git_oid, xet_hash="ab" * 32)
    pull(store, RemoteCommit("org/name", commit.commit, (large, *small)))
    read = _tree_cache.read_tree_cache(str(repo), commit.commit)
    entry = _tree_cache.TreeCacheEntry
    assert read == {large.name: entry(large.size, large.git_oid, large.hash.digest, large.size, "ab" * 32)} | {
        file.name: entry(file.size, file.git_oid) for file in small
    }


def test_huggingface_hub_finds_the_same_cache_as_it_would_have_created(store: CacheDownloadStore, hub: Path) -> None:
    pull(store)
    found = scan_cache_dir(hub)
    assert not found.warnings
    (model,) = found.repos
    (revision,) = model.revisions
    assert (model.repo_id, revision.commit_hash, revision.refs) == ("org/name", COMMIT.commit, frozenset({"main"}))
    assert {str(file.file_path.relative_to(revision.snapshot_path)): file.size_on_disk for file in revision.files} == {
        name: len(data) for name, data in FILES.items()
    }
    assert all(file.blob_path.parent.name == "blobs" for file in revision.files)


def test_links_are_relative_so_that_a_cache_can_be_moved(store: CacheDownloadStore, hub: Path, tmp_path: Path) -> None:
    pull(store)
    hub.rename(tmp_path / "moved")
    assert shown(tmp_path / "moved" / FOLDER) == FILES


def test_only_the_listing_and_the_stamps_are_left_beside_the_model(store: CacheDownloadStore, repo: Path) -> None:
    pull(store)
    files = {str(path.relative_to(repo)) for path in repo.rglob("*") if path.is_file()}
    blobs = {f"blobs/{file.hash.digest}" for file in COMMIT.files}
    links = {f"snapshots/{COMMIT.commit}/{name}" for name in FILES}
    assert files == {*blobs, *links, "refs/main", f"trees/{COMMIT.commit}.json", ".mlxk/stamps.json"}
    assert [path.name for path in (repo / ".mlxk").iterdir()] == ["stamps.json"]


# --- links, pipes and folders at the path of a file


@pytest.mark.parametrize("data", [b"first", b"", b"first weights", b"other bytes and more"])
def test_a_partial_that_has_another_name_is_not_written_to(
    store: CacheDownloadStore, repo: Path, partial: Path, tmp_path: Path, data: bytes
) -> None:
    for make in (os.link, os.symlink):
        mine = tmp_path / make.__name__
        mine.write_bytes(data)
        make(mine, partial)
        download(store)
        assert mine.read_bytes() == data
        assert (repo / "blobs" / WEIGHTS.hash.digest).read_bytes() == FILES[WEIGHTS.name]
        (repo / "blobs" / WEIGHTS.hash.digest).unlink()


def test_a_dangling_link_for_a_partial_creates_no_file_at_its_target(
    store: CacheDownloadStore, partial: Path, tmp_path: Path
) -> None:
    partial.symlink_to(tmp_path / "elsewhere")
    download(store)
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_in_the_place_of_a_partial_is_replaced(store: CacheDownloadStore, repo: Path, partial: Path) -> None:
    os.mkfifo(partial)
    download(store)
    assert (repo / "blobs" / WEIGHTS.hash.digest).read_bytes() == FILES[WEIGHTS.name]


def test_a_folder_in_the_place_of_a_partial_is_an_error(store: CacheDownloadStore, partial: Path) -> None:
    partial.mkdir()
    (partial / "mine").touch()
    with pytest.raises(StorageError):
        download(store)
    assert (partial / "mine").exists()
    partial.joinpath("mine").unlink()
    partial.rmdir()
    download(store)


@pytest.mark.parametrize("data", [b"wrong", b"first weights and more", bytes(13)])
def test_a_partial_with_wrong_bytes_is_downloaded_again(
    store: CacheDownloadStore, repo: Path, partial: Path, data: bytes
) -> None:
    partial.write_bytes(data)
    with suppress(DownloadFailed):
        download(store)
    download(store)
    assert (repo / "blobs" / WEIGHTS.hash.digest).read_bytes() == FILES[WEIGHTS.name]


def test_stale_partials_of_other_programs_are_removed(store: CacheDownloadStore, repo: Path, partial: Path) -> None:
    theirs, others = partial.with_name(f"{WEIGHTS.hash.digest}.0a1b2c3d.incomplete"), partial.with_name("x.incomplete")
    theirs.touch()
    others.touch()
    download(store)
    assert store.has_leftovers(FOLDER)
    (repo.parent / ".locks" / FOLDER).mkdir(parents=True, exist_ok=True)
    with FileLock(
        repo.parent / ".locks" / FOLDER / f"{WEIGHTS.hash.digest}.lock"
    ):  # the other program writes to it again
        publish(store)
        assert theirs.exists()
    publish(store)
    assert not theirs.exists()
    assert not store.has_leftovers(FOLDER)
    assert others.exists()


@pytest.mark.parametrize("place", ["blobs", "snapshots", "refs", "trees", ".mlxk", f"snapshots/{COMMIT.commit}"])
def test_a_folder_that_is_a_link_is_not_written_into(
    store: CacheDownloadStore, repo: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "mine").mkdir()
    (repo / place).parent.mkdir(parents=True)
    (repo / place).symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError):
        pull(store)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_repo_that_is_a_link_is_not_written_into(store: CacheDownloadStore, hub: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    hub.mkdir()
    (hub / FOLDER).symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError):
        pull(store)
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../mine", "no/such", "config.json", "."])
def test_a_link_with_a_wrong_target_is_damage_and_is_repaired(
    store: CacheDownloadStore, repo: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "mine").write_bytes(b"{}")
    pull(store)
    link = repo / "snapshots" / COMMIT.commit / "config.json"
    link.unlink()
    link.symlink_to(target)
    (cached,) = store.cached_files(FOLDER, COMMIT.commit, [COMMIT.files[1]])
    assert (cached.state, cached.is_linked) == (CachedFileState.VERIFIED, False)  # the blob is right, the link is not
    pull(store)
    assert (shown(repo), (tmp_path / "mine").read_bytes()) == (FILES, b"{}")


def test_a_plain_file_of_a_snapshot_is_held(store: CacheDownloadStore, repo: Path) -> None:
    pull(store)
    link = repo / "snapshots" / COMMIT.commit / "config.json"
    blob = link.resolve()
    link.unlink()
    blob.rename(link)
    (cached,) = store.cached_files(FOLDER, COMMIT.commit, [COMMIT.files[1]])
    assert (cached.state, cached.is_linked, cached.name) == (CachedFileState.UNVERIFIED, True, "config.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', "\ud800", "[" * 100_000])
def test_stamps_that_cannot_be_decoded_count_as_none(store: CacheDownloadStore, repo: Path, text: str) -> None:
    pull(store)
    (repo / ".mlxk/stamps.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert held(store) == [CachedFileState.UNVERIFIED] * 3
    pull(store)
    assert held(store) == [CachedFileState.VERIFIED] * 3


def test_anything_at_the_path_of_a_file_is_replaced(store: CacheDownloadStore, repo: Path, tmp_path: Path) -> None:
    pull(store)
    snapshot, outside = repo / "snapshots" / COMMIT.commit, tmp_path / "outside"
    outside.mkdir()
    (outside / "x.txt").write_text("mine")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json" / "deep").mkdir(parents=True)
    (snapshot / "sub" / "x.txt").unlink()
    (snapshot / "sub").rmdir()
    (snapshot / "sub").symlink_to(outside)
    blob = repo / "blobs" / WEIGHTS.hash.digest
    blob.unlink()
    blob.mkdir()
    pull(store)
    assert {name: (snapshot / name).read_bytes() for name in FILES} == FILES
    assert (outside / "x.txt").read_text() == "mine"


def test_a_folder_in_the_place_of_a_ref_is_replaced(store: CacheDownloadStore, repo: Path) -> None:
    (repo / "refs" / "main" / "deeper").mkdir(parents=True)
    pull(store)
    assert (repo / "refs" / "main").read_text() == COMMIT.commit


def test_a_model_that_is_kept_on_another_disk_is_held_and_not_changed(
    store: CacheDownloadStore, repo: Path, tmp_path: Path
) -> None:
    pull(store)
    repo.rename(tmp_path / "elsewhere")
    repo.symlink_to(tmp_path / "elsewhere")
    cached_files = store.cached_files(FOLDER, COMMIT.commit, COMMIT.files)
    assert [(cached.state, cached.is_linked) for cached in cached_files] == [(CachedFileState.UNVERIFIED, True)] * 3
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    with pytest.raises(StorageError, match=f"{FOLDER} is a link") as caught:
        pull(store)
    assert caught.value.hint == Hint(HintCode.REPLACE_LINK)
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before


# --- disks without links


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(target: str, place: str) -> None:
        raise OSError(errno.EPERM, "no links here", place, None, target)

    monkeypatch.setattr("os.symlink", refused)


@pytest.mark.usefixtures("no_links")
def test_a_disk_without_links_gets_the_files_themselves(store: CacheDownloadStore, repo: Path) -> None:
    pull(store)
    assert shown(repo) == FILES
    assert not [path for path in (repo / "snapshots").rglob("*") if path.is_symlink()]
    assert held(store) == [CachedFileState.UNVERIFIED] * 3  # moving a file changes its ctime
    pull(store)
    assert shown(repo) == FILES


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("files", [0, 1, 2])
def test_a_pull_that_stops_between_two_files_loses_none_on_a_disk_without_links(
    store: CacheDownloadStore, repo: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    """Fail every rename after some files, so that nothing later happens, as after a kill."""
    rename, moved = os.rename, list[str]()

    def stopped(old: str, new: str) -> None:
        if "/snapshots/" in new:
            if len(moved) == files:
                raise OSError(errno.EIO, "stopped", new)
            moved.append(new)
        rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr("os.rename", stopped)
        with pytest.raises(StorageError, match="stopped"):
            pull(store)
    assert held(store) == [CachedFileState.UNVERIFIED] * 3  # the next pull hashes all of them
    pull(store)
    assert shown(repo) == FILES
