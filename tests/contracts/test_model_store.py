"""The contract of ``ModelStore``."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs
import pytest

from mlxknife.adapters.hfcache.model_store import CacheModelStore
from mlxknife.domain.errors import AccessDenied, StorageError
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedFile, RecordedHash
from mlxknife.domain.models.values.stored_models import CachedRepo
from mlxknife.ports.store.model_store import ModelStore
from tests.contracts.permissions import forbidden
from tests.fakes.model_store import FakeStore

_A, _B = "a" * 40, "b" * 40
_FOLDER = "models--org--name"


@attrs.frozen
class Repo:
    """A repo to create; later refs and snapshots are newer."""

    refs: Mapping[str, str] = attrs.field(factory=dict)
    snapshots: tuple[str, ...] = ()
    no_folders: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    sizes: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)


Scene = Mapping[str, Repo]


def _refs(repo: CachedRepo) -> dict[str, str | None]:
    return {ref.name: ref.commit for ref in repo.refs}


class Contract(ABC):
    @abstractmethod
    def opened(self, scene: Scene, place: Path) -> ModelStore:
        """Return a store over a cache with these repos."""

    @abstractmethod
    def without_cache(self, place: Path) -> ModelStore:
        """Return a store whose cache does not exist."""

    @abstractmethod
    def over_a_file(self, place: Path) -> ModelStore:
        """Return a store whose cache is a file."""

    @abstractmethod
    def denying(self, store: ModelStore, place: Path) -> AbstractContextManager[None]:
        """Make the cache unreadable."""

    def test_a_missing_cache_is_empty(self, place: Path) -> None:
        assert self.without_cache(place).folders() == ()

    def test_a_cache_that_is_a_file_is_a_storage_error(self, place: Path) -> None:
        with pytest.raises(StorageError):
            self.over_a_file(place).folders()

    def test_a_cache_that_may_not_be_read_is_denied(self, place: Path) -> None:
        store = self.opened({_FOLDER: Repo()}, place)
        with self.denying(store, place), pytest.raises(AccessDenied):
            store.folders()

    def test_every_repo_is_there_once(self, place: Path) -> None:
        folders = {"models--a--b", "models--", "models--odd name", "models--\u202e", "models--x--y--z"}
        store = self.opened({folder: Repo() for folder in folders}, place)
        assert sorted(store.folders()) == sorted(folders)

    def test_a_repo_has_its_snapshots_and_the_commits_of_its_refs(self, place: Path) -> None:
        scene = Repo(refs={"main": _A, "v1.0": f"{_B}\n", "pr/1": _B}, snapshots=(_A, _B))
        found = self.opened({_FOLDER: scene}, place).repo(_FOLDER)
        assert found.folder == _FOLDER
        assert found.problem is None
        assert _refs(found) == {"main": _A, "v1.0": _B, "pr/1": _B}
        assert {snapshot.commit: snapshot.problem for snapshot in found.snapshots} == {_A: None, _B: None}
        assert len({snapshot.location for snapshot in found.snapshots}) == 2

    def test_later_refs_and_snapshots_are_newer(self, place: Path) -> None:
        scene = Repo(refs={"old": _A, "new": _B}, snapshots=(_B, _A))
        found = self.opened({_FOLDER: scene}, place).repo(_FOLDER)
        assert max(found.refs, key=lambda ref: ref.modified).name == "new"
        assert max(found.snapshots, key=lambda snapshot: snapshot.modified).commit == _A

    @pytest.mark.parametrize("text", ["", "\n", "a b", "../../etc", "ä", "\x1b[31m", "a/b", ".", "-x", "\0"])
    def test_a_ref_that_holds_no_commit_has_none(self, place: Path, text: str) -> None:
        found = self.opened({_FOLDER: Repo(refs={"main": text, "ok": _A})}, place).repo(_FOLDER)
        assert _refs(found) == {"main": None, "ok": _A}

    def test_a_repo_without_anything_in_it_is_no_problem(self, place: Path) -> None:
        found = self.opened({_FOLDER: Repo()}, place).repo(_FOLDER)
        assert (found.refs, found.snapshots, found.unfinished, found.problem) == ((), (), frozenset(), None)

    def test_a_file_in_the_place_of_a_snapshot_is_a_problem(self, place: Path) -> None:
        found = self.opened({_FOLDER: Repo(snapshots=(_A,), no_folders=(_B,))}, place).repo(_FOLDER)
        problems = {snapshot.commit: snapshot.problem for snapshot in found.snapshots}
        assert problems[_A] is None
        assert problems[_B]

    def test_unfinished_downloads_are_listed_by_blob(self, place: Path) -> None:
        found = self.opened({_FOLDER: Repo(unfinished=("0" * 64, "1" * 40))}, place).repo(_FOLDER)
        assert found.unfinished == {"0" * 64, "1" * 40}

    def test_a_repo_that_vanished_is_a_problem(self, place: Path) -> None:
        found = self.opened({}, place).repo(_FOLDER)
        assert found.folder == _FOLDER
        assert found.problem

    def test_the_manifest_has_the_recorded_sizes(self, place: Path) -> None:
        sizes = {"config.json": 10, "sub/model.safetensors": 2**40}
        store = self.opened({_FOLDER: Repo(snapshots=(_A, _B), sizes={_B: sizes})}, place)
        manifests = {snapshot.commit: store.manifest(snapshot) for snapshot in store.repo(_FOLDER).snapshots}
        assert manifests[_A] is None
        assert {name: recorded.size for name, recorded in (manifests[_B] or {}).items()} == sizes


class TestFake(Contract):
    def opened(self, scene: Scene, place: Path) -> ModelStore:
        del place
        store = FakeStore()
        for folder, repo in scene.items():
            store.add(
                folder,
                refs=repo.refs,
                snapshots=repo.snapshots,
                no_folders=repo.no_folders,
                unfinished=repo.unfinished,
            )
            for commit, sizes in repo.sizes.items():
                store.record(folder, commit, sizes)
        return store

    def without_cache(self, place: Path) -> ModelStore:
        del place
        return FakeStore()

    def over_a_file(self, place: Path) -> ModelStore:
        del place
        return FakeStore(failure=StorageError("no folder"))

    @contextmanager
    def denying(self, store: ModelStore, place: Path) -> Iterator[None]:
        del place
        assert isinstance(store, FakeStore)
        store.failure = AccessDenied("not you")
        yield


class TestReal(Contract):
    def opened(self, scene: Scene, place: Path) -> ModelStore:
        root = place / "hub"
        root.mkdir(exist_ok=True)
        for folder, repo in scene.items():
            _write(root / folder, repo)
        return CacheModelStore(str(root))

    def without_cache(self, place: Path) -> ModelStore:
        return CacheModelStore(str(place / "nothing/hub"))

    def over_a_file(self, place: Path) -> ModelStore:
        (place / "hub").write_text("x")
        return CacheModelStore(str(place / "hub"))

    def denying(self, store: ModelStore, place: Path) -> AbstractContextManager[None]:
        del store
        return forbidden(place / "hub")

    def _broken(self, place: Path) -> tuple[ModelStore, Path]:
        store = self.opened({_FOLDER: Repo(refs={"main": _A}, snapshots=(_A,)), "models--b": Repo()}, place)
        return store, place / "hub" / _FOLDER

    def test_folders_that_are_no_model_repos_are_left_out(self, place: Path) -> None:
        store = self.opened({_FOLDER: Repo()}, place)
        for name in ("datasets--a--b", ".locks", "blobs", "version.txt"):
            (place / "hub" / name).mkdir()
        assert store.folders() == (_FOLDER,)

    def test_a_file_in_the_place_of_a_repo_is_listed_with_a_problem(self, place: Path) -> None:
        store = self.opened({}, place)
        (place / "hub" / _FOLDER).write_text("x")
        assert store.folders() == (_FOLDER,)
        assert store.repo(_FOLDER).problem

    @pytest.mark.parametrize("target", ["nowhere", _FOLDER, "../file"])
    def test_a_link_that_leads_to_no_folder_is_listed_with_a_problem(self, place: Path, target: str) -> None:
        store = self.opened({}, place)
        (place / "file").write_text("x")
        (place / "hub" / _FOLDER).symlink_to(target)
        assert store.folders() == (_FOLDER,)
        assert store.repo(_FOLDER).problem

    def test_a_repo_may_be_a_link_to_another_disk(self, place: Path) -> None:
        store = self.opened({}, place)
        _write(place / "other" / _FOLDER, Repo(refs={"main": _A}, snapshots=(_A,)))
        (place / "hub" / _FOLDER).symlink_to(place / "other" / _FOLDER)
        found = store.repo(_FOLDER)
        assert (found.problem, _refs(found), len(found.snapshots)) == (None, {"main": _A}, 1)

    def test_a_repo_that_may_not_be_read_is_a_problem(self, place: Path) -> None:
        store, repo = self._broken(place)
        with forbidden(repo):
            assert store.repo(_FOLDER).problem
            assert store.repo("models--b").problem is None

    @pytest.mark.parametrize("part", ["refs", "snapshots"])
    def test_a_part_that_may_not_be_read_is_a_problem(self, place: Path, part: str) -> None:
        store, repo = self._broken(place)
        with forbidden(repo / part):
            assert part in (store.repo(_FOLDER).problem or "")

    @pytest.mark.parametrize("part", ["refs", "snapshots"])
    def test_a_part_that_is_a_file_or_a_link_is_a_problem(self, place: Path, part: str) -> None:
        store, repo = self._broken(place)
        (repo / part).rename(place / part)
        (repo / part).symlink_to(place / part)
        assert part in (store.repo(_FOLDER).problem or "")
        (repo / part).unlink()
        (repo / part).write_text("x")
        assert part in (store.repo(_FOLDER).problem or "")

    def test_a_folder_a_link_or_a_pipe_in_the_place_of_a_ref_holds_no_commit(self, place: Path) -> None:
        store, repo = self._broken(place)
        (repo / "refs/main").unlink()
        (repo / "refs/main").mkdir()
        (repo / "refs/link").symlink_to(repo / "refs/other")
        (repo / "refs/other").write_text(_A)
        os.mkfifo(repo / "refs/pipe")
        assert _refs(store.repo(_FOLDER)) == {"main": None, "link": None, "other": _A, "pipe": None}

    def test_a_ref_of_megabytes_holds_no_commit(self, place: Path) -> None:
        store, repo = self._broken(place)
        (repo / "refs/main").write_text("a" * 2**21)
        assert _refs(store.repo(_FOLDER)) == {"main": None}

    def test_a_link_in_the_place_of_a_snapshot_is_no_snapshot(self, place: Path) -> None:
        store, repo = self._broken(place)
        (repo / "snapshots" / _B).symlink_to(repo / "snapshots" / _A)
        assert {found.commit: bool(found.problem) for found in store.repo(_FOLDER).snapshots} == {_A: False, _B: True}

    @pytest.mark.parametrize(
        "data",
        [
            b"", b"[]", b"{}", b"{", b"\xff", b'{"files": 1}', b'{"files": {"a": 1}}',
            b'{"files": {"a": {"size": "1"}}}',
            b'{"files": {"a": {}}}', b'{"files": {"\xff": {"size": 1}}}', b'{"files":' + b"[" * 5_000,
        ],
    )  # fmt: skip
    def test_a_manifest_that_cannot_be_decoded_is_none(self, place: Path, data: bytes) -> None:
        store, repo = self._broken(place)
        (repo / "trees").mkdir()
        (repo / "trees" / f"{_A}.json").write_bytes(data)
        (snapshot,) = store.repo(_FOLDER).snapshots
        assert store.manifest(snapshot) is None

    def test_the_hash_of_a_listed_file_is_that_of_its_bytes(self, place: Path) -> None:
        store = self.opened({_FOLDER: Repo(snapshots=(_A,))}, place)
        (snapshot,) = store.repo(_FOLDER).snapshots
        listing = {
            "small": {"size": 1, "blob_id": "1" * 40},
            "large": {"size": 2, "blob_id": "2" * 40, "lfs_sha256": "3" * 64, "lfs_size": 2, "xet_hash": "4" * 64},
            "bare": {"size": 3},
        }
        path = Path(snapshot.location.bounds[0], "trees", f"{_A}.json")
        path.parent.mkdir()
        path.write_text(json.dumps({"format_version": 1, "files": listing}))
        assert store.manifest(snapshot) == {
            "small": RecordedFile(1, RecordedHash(HashAlgorithm.GIT_SHA1, "1" * 40)),
            "large": RecordedFile(2, RecordedHash(HashAlgorithm.SHA256, "3" * 64)),
            "bare": RecordedFile(3),
        }

    def test_a_manifest_that_may_not_be_read_is_none(self, place: Path) -> None:
        store, repo = self._broken(place)
        (repo / "trees").mkdir()
        tree = repo / "trees" / f"{_A}.json"
        tree.write_text('{"files": {}}')
        (snapshot,) = store.repo(_FOLDER).snapshots
        assert store.manifest(snapshot) == {}
        with forbidden(tree):
            assert store.manifest(snapshot) is None
        tree.unlink()
        tree.mkdir()
        assert store.manifest(snapshot) is None


def _write(folder: Path, repo: Repo) -> None:
    folder.mkdir(parents=True)
    for number, (name, text) in enumerate(repo.refs.items()):
        ref = folder / "refs" / name
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(text)
        os.utime(ref, (number, number))
    for number, commit in enumerate((*repo.snapshots, *repo.no_folders)):
        path = folder / "snapshots" / commit
        path.parent.mkdir(exist_ok=True)
        path.write_text("x") if commit in repo.no_folders else path.mkdir()
        os.utime(path, (number, number))
    for number, blob in enumerate(repo.unfinished):
        (folder / "blobs").mkdir(exist_ok=True)
        suffix = ".0a1b2c3d.incomplete" if number % 2 else ".incomplete"
        (folder / "blobs" / f"{blob}{suffix}").write_text("x")
    for commit, sizes in repo.sizes.items():
        (folder / "trees").mkdir(exist_ok=True)
        tree = {"files": {name: {"size": size, "blob_id": "0"} for name, size in sizes.items()}}
        (folder / "trees" / f"{commit}.json").write_text(json.dumps(tree))
