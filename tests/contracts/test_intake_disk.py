"""What the intake promises of the disk: nothing is written through a stranger's name, and others can read it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub import _tree_cache, scan_cache_dir

from mlxknife.adapters.hfcache.disposal import CacheDisposal
from mlxknife.adapters.hfcache.intake import CacheIntake
from mlxknife.domain.errors import DownloadFailed, LocksPresent, StorageError
from mlxknife.domain.model.removal import Orphan, StoredBlob
from mlxknife.domain.model.transfer import Held, RemoteCommit, RemoteFile
from mlxknife.ports.intake import Reception
from mlxknife.ports.progress import Silence
from tests.fakes.hub import RemoteShelf

_FOLDER = "models--org--name"
_FILES = {"a.safetensors": b"first weights", "config.json": b"{}", "sub/x.txt": b"x"}


def _remote() -> RemoteCommit:
    hub = RemoteShelf()
    return hub.commit("org/name", hub.add("org/name", _FILES))


_COMMIT = _remote()
_A = _COMMIT.files[0]


def _never() -> bool:
    return False


@pytest.fixture
def intake(tmp_path: Path) -> CacheIntake:
    return CacheIntake(str(tmp_path / "hub"))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def repo(hub: Path) -> Path:
    return hub / _FOLDER


@pytest.fixture
def partial(repo: Path) -> Path:
    (repo / "blobs").mkdir(parents=True)
    return repo / "blobs" / f"{_A.hash.digest}.incomplete"


def _bring(intake: CacheIntake, file: RemoteFile = _A, reception: Reception | None = None) -> None:
    reception = reception or intake.reception(_FOLDER, Silence(), afresh=False)
    with reception.open(file, _never) as sink:
        if sink is not None:
            sink.write(_FILES[file.name][sink.position :])
            sink.finish()


def _take_in(intake: CacheIntake, commit: RemoteCommit = _COMMIT) -> None:
    with intake.guarded(_FOLDER):
        reception = intake.reception(_FOLDER, Silence(), afresh=False)
        for file in commit.files:
            _bring(intake, file, reception)
        reception.publish(commit, intake.holdings(_FOLDER, commit.commit, commit.files), "main")


def _held(intake: CacheIntake) -> list[Held]:
    return [holding.held for holding in intake.holdings(_FOLDER, _COMMIT.commit, _COMMIT.files)]


def _shown(repo: Path) -> dict[str, bytes]:
    snapshot = repo / "snapshots" / _COMMIT.commit
    return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}


# --- what others read


def test_huggingface_hub_reads_the_listing(intake: CacheIntake, repo: Path) -> None:
    hub = RemoteShelf()
    commit = hub.commit("org/name", hub.add("org/name", _FILES))
    large, *small = commit.files
    large = RemoteFile(large.name, large.size, large.hash, large.git_oid, xet_hash="ab" * 32)
    _take_in(intake, RemoteCommit("org/name", commit.commit, (large, *small)))
    read = _tree_cache.read_tree_cache(str(repo), commit.commit)
    entry = _tree_cache.TreeCacheEntry
    assert read == {large.name: entry(large.size, large.git_oid, large.hash.digest, large.size, "ab" * 32)} | {
        file.name: entry(file.size, file.git_oid) for file in small
    }


def test_huggingface_hub_finds_a_cache_as_it_would_have_made_it(intake: CacheIntake, hub: Path) -> None:
    _take_in(intake)
    found = scan_cache_dir(hub)
    assert not found.warnings
    (model,) = found.repos
    (revision,) = model.revisions
    assert (model.repo_id, revision.commit_hash, revision.refs) == ("org/name", _COMMIT.commit, frozenset({"main"}))
    assert {str(file.file_path.relative_to(revision.snapshot_path)): file.size_on_disk for file in revision.files} == {
        name: len(data) for name, data in _FILES.items()
    }
    assert all(file.blob_path.parent.name == "blobs" for file in revision.files)


def test_links_are_relative_so_that_a_cache_can_be_moved(intake: CacheIntake, hub: Path, tmp_path: Path) -> None:
    _take_in(intake)
    hub.rename(tmp_path / "moved")
    assert _shown(tmp_path / "moved" / _FOLDER) == _FILES


def test_what_is_left_beside_the_model_is_only_what_is_remembered(intake: CacheIntake, repo: Path) -> None:
    _take_in(intake)
    files = {str(path.relative_to(repo)) for path in repo.rglob("*") if path.is_file()}
    blobs = {f"blobs/{file.hash.digest}" for file in _COMMIT.files}
    links = {f"snapshots/{_COMMIT.commit}/{name}" for name in _FILES}
    assert files == {*blobs, *links, "refs/main", f"trees/{_COMMIT.commit}.json", ".mlxk/stamps.json"}
    assert [path.name for path in (repo / ".mlxk").iterdir()] == ["stamps.json"]


# --- what stands in the place of something


@pytest.mark.parametrize("data", [b"first", b"", b"first weights", b"other bytes and more"])
def test_a_partial_that_others_reach_is_not_written_to(
    intake: CacheIntake, repo: Path, partial: Path, tmp_path: Path, data: bytes
) -> None:
    for make in (os.link, os.symlink):
        mine = tmp_path / make.__name__
        mine.write_bytes(data)
        make(mine, partial)
        _bring(intake)
        assert mine.read_bytes() == data
        assert (repo / "blobs" / _A.hash.digest).read_bytes() == _FILES[_A.name]
        (repo / "blobs" / _A.hash.digest).unlink()


def test_a_partial_that_leads_nowhere_makes_nothing_there(intake: CacheIntake, partial: Path, tmp_path: Path) -> None:
    partial.symlink_to(tmp_path / "elsewhere")
    _bring(intake)
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_in_the_place_of_a_partial_goes(intake: CacheIntake, repo: Path, partial: Path) -> None:
    os.mkfifo(partial)
    _bring(intake)
    assert (repo / "blobs" / _A.hash.digest).read_bytes() == _FILES[_A.name]


def test_a_folder_in_the_place_of_a_partial_is_an_error(intake: CacheIntake, partial: Path) -> None:
    partial.mkdir()
    (partial / "mine").touch()
    with pytest.raises(StorageError):
        _bring(intake)
    assert (partial / "mine").exists()
    partial.joinpath("mine").unlink()
    partial.rmdir()
    _bring(intake)


@pytest.mark.parametrize("data", [b"wrong", b"first weights and more", bytes(13)])
def test_a_partial_of_nonsense_does_no_harm(intake: CacheIntake, repo: Path, partial: Path, data: bytes) -> None:
    partial.write_bytes(data)
    with suppress(DownloadFailed):
        _bring(intake)
    _bring(intake)
    assert (repo / "blobs" / _A.hash.digest).read_bytes() == _FILES[_A.name]


def test_what_other_programs_left_of_a_blob_goes_with_it(intake: CacheIntake, repo: Path, partial: Path) -> None:
    theirs, others = partial.with_name(f"{_A.hash.digest}.0a1b2c3d.incomplete"), partial.with_name("x.incomplete")
    theirs.touch()
    others.touch()
    _bring(intake)
    assert {path.name for path in (repo / "blobs").iterdir()} == {_A.hash.digest, "x.incomplete"}


@pytest.mark.parametrize("place", ["blobs", "snapshots", "refs", "trees", ".mlxk", f"snapshots/{_COMMIT.commit}"])
def test_a_folder_that_is_a_link_is_not_written_into(
    intake: CacheIntake, repo: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "mine").mkdir()
    (repo / place).parent.mkdir(parents=True)
    (repo / place).symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError):
        _take_in(intake)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_repo_that_is_a_link_is_not_written_into(intake: CacheIntake, hub: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    hub.mkdir()
    (hub / _FOLDER).symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError):
        _take_in(intake)
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../mine", "no/such", "config.json", "."])
def test_a_link_that_leads_elsewhere_is_damage_and_is_put_right(
    intake: CacheIntake, repo: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "mine").write_bytes(b"{}")
    _take_in(intake)
    link = repo / "snapshots" / _COMMIT.commit / "config.json"
    link.unlink()
    link.symlink_to(target)
    (holding,) = intake.holdings(_FOLDER, _COMMIT.commit, [_COMMIT.files[1]])
    assert (holding.held, holding.is_linked) == (Held.TRUSTED, False)  # the blob itself
    _take_in(intake)
    assert (_shown(repo), (tmp_path / "mine").read_bytes()) == (_FILES, b"{}")


def test_a_plain_file_of_a_snapshot_is_held(intake: CacheIntake, repo: Path) -> None:
    _take_in(intake)
    link = repo / "snapshots" / _COMMIT.commit / "config.json"
    blob = link.resolve()
    link.unlink()
    blob.rename(link)
    (holding,) = intake.holdings(_FOLDER, _COMMIT.commit, [_COMMIT.files[1]])
    assert (holding.held, holding.is_linked, holding.name) == (Held.UNPROVEN, True, "config.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', "\ud800", "[" * 100_000])
def test_stamps_of_nonsense_are_none(intake: CacheIntake, repo: Path, text: str) -> None:
    _take_in(intake)
    (repo / ".mlxk/stamps.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert _held(intake) == [Held.UNPROVEN] * 3
    _take_in(intake)
    assert _held(intake) == [Held.TRUSTED] * 3


# --- guards


def test_a_guard_keeps_removals_away(intake: CacheIntake, hub: Path) -> None:
    _take_in(intake)
    disposal = CacheDisposal(str(hub))
    orphan = Orphan("org/name", _FOLDER, StoredBlob("x", 1, unfinished=False))
    (hub / _FOLDER / "blobs/x").touch()
    with intake.guarded(_FOLDER):
        with pytest.raises(LocksPresent), disposal.guarded(_FOLDER):
            pytest.fail("it is not ours")
        assert not disposal.discard_orphan(orphan)
        with disposal.guarded("models--org--other"):
            pass
    with disposal.guarded(_FOLDER):
        pass
    assert disposal.discard_orphan(orphan)


def test_a_guard_waits_for_a_removal(intake: CacheIntake, hub: Path) -> None:
    hub.mkdir()
    entered = threading.Event()

    def take_in() -> None:
        with intake.guarded(_FOLDER):
            entered.set()

    thread = threading.Thread(target=take_in)
    with CacheDisposal(str(hub)).guarded(_FOLDER):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_no_lock_of_ours_stays(intake: CacheIntake, hub: Path) -> None:
    with intake.guarded(_FOLDER):
        with intake.guarded(_FOLDER):
            assert list(hub.rglob("mlxk.lock"))
        assert list(hub.rglob("mlxk.lock"))
    assert list(hub.iterdir()) == []
    _take_in(intake)
    assert not list(hub.rglob("mlxk.lock"))


def test_what_a_publisher_left_who_was_stopped_is_noticed_and_cleared_by_the_next(
    intake: CacheIntake, repo: Path
) -> None:
    _take_in(intake)
    assert not intake.is_untidy(_FOLDER)
    (repo / ".mlxk" / "staging" / "half").mkdir(parents=True)
    assert intake.is_untidy(_FOLDER)
    _take_in(intake)
    assert not intake.is_untidy(_FOLDER)


def test_a_pull_that_brought_nothing_leaves_no_model(intake: CacheIntake, hub: Path) -> None:
    with intake.guarded(_FOLDER):
        reception = intake.reception(_FOLDER, Silence(), afresh=False)
        with reception.open(_A, _never) as sink:
            assert sink is not None
    assert [path.name for path in hub.iterdir() if path.name.startswith("models--")] == []


def test_what_is_in_the_way_of_a_file_gives_way(intake: CacheIntake, repo: Path, tmp_path: Path) -> None:
    _take_in(intake)
    snapshot, outside = repo / "snapshots" / _COMMIT.commit, tmp_path / "outside"
    outside.mkdir()
    (outside / "x.txt").write_text("mine")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json" / "deep").mkdir(parents=True)
    (snapshot / "sub" / "x.txt").unlink()
    (snapshot / "sub").rmdir()
    (snapshot / "sub").symlink_to(outside)
    blob = repo / "blobs" / _A.hash.digest
    blob.unlink()
    blob.mkdir()
    _take_in(intake)
    assert {name: (snapshot / name).read_bytes() for name in _FILES} == _FILES
    assert (outside / "x.txt").read_text() == "mine"
