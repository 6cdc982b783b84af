"""The fake and the real download store, and how the contract tests change their cache from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.domain.transfer.values import CachedFile, CachedFileState, RemoteCommit, RemoteFile
from mlxknife.ports.store.download_store import DownloadStore, SnapshotPublisher
from mlxknife.ports.system.progress import NoProgress
from tests.contracts.permissions import forbidden
from tests.fakes.download_store import FakeDownloadStore, blobs_of
from tests.fakes.hub import InMemoryHub

FOLDER = "models--org--name"
FILES = {"a.safetensors": b"first weights", "b.safetensors": b"other weights", "config.json": b"{}", "sub/x.txt": b"x"}


def _remote(files: dict[str, bytes]) -> RemoteCommit:
    hub = InMemoryHub()
    return hub.commit("org/name", hub.add("org/name", files))


COMMIT, OTHER = _remote(FILES), _remote({"config.json": b"{}", "more/deep/y.txt": b"y"})
A = COMMIT.files[0]
WRONG = b"wrong weights"


def never() -> bool:
    return False


def publisher_of(store: DownloadStore, *, force_download: bool = False) -> SnapshotPublisher:
    return store.publisher(FOLDER, NoProgress(), force_download=force_download)


def held(store: DownloadStore, commit: RemoteCommit = COMMIT) -> dict[str, CachedFileState]:
    return {cached.file.name: cached.state for cached in cached_files_of(store, commit)}


def cached_files_of(store: DownloadStore, commit: RemoteCommit = COMMIT) -> tuple[CachedFile, ...]:
    return store.cached_files(FOLDER, commit.commit, commit.files)


def download(publisher: SnapshotPublisher, file: RemoteFile, data: bytes) -> None:
    with publisher.open(file, never) as sink:
        assert sink is not None
        sink.write(data[sink.position :])
        sink.finish()


def pull(
    store: DownloadStore,
    files: dict[str, bytes] = FILES,
    commit: RemoteCommit = COMMIT,
    ref: str | None = "main",
) -> None:
    publisher = publisher_of(store)
    cached_files = cached_files_of(store, commit)
    for cached in cached_files:
        with publisher.open(cached.file, never) as sink:
            if sink is not None:
                sink.write(files[cached.file.name][sink.position :])
                sink.finish()
    publisher.publish(commit, cached_files, ref)


def trusted(cached_files: Sequence[CachedFile]) -> list[CachedFile]:
    return [attrs.evolve(cached, state=CachedFileState.VERIFIED) for cached in cached_files]


class Scene(ABC):
    """A download store, and access to its cache from outside."""

    @abstractmethod
    def opened(self, place: Path) -> DownloadStore:
        """Return a download store of an empty cache."""

    @abstractmethod
    def write(self, store: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        """Write to a blob from outside."""

    @abstractmethod
    def lose(self, store: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        """Remove the link of a snapshot, or all of it, from outside."""

    @abstractmethod
    def shown(self, store: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        """Return what the files of a snapshot lead to."""

    @abstractmethod
    def refs(self, store: DownloadStore, place: Path) -> dict[str, str]:
        """Return the refs of the repo."""

    @abstractmethod
    def denying(self, store: DownloadStore, place: Path) -> AbstractContextManager[None]:
        """Take away the right to change the cache."""


class FakeScene(Scene):
    def opened(self, place: Path) -> FakeDownloadStore:
        del place
        return FakeDownloadStore()

    def write(self, store: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        del place
        assert isinstance(store, FakeDownloadStore)
        store.write(FOLDER, blob, data)

    def lose(self, store: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        del place
        assert isinstance(store, FakeDownloadStore)
        if name is None:
            del store.snapshots[FOLDER][commit]
        else:
            del store.snapshots[FOLDER][commit][name]

    def shown(self, store: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        del place
        assert isinstance(store, FakeDownloadStore)
        links = store.snapshots[FOLDER].get(commit, {})
        return {name: store.disk[blobs_of(FOLDER), blob] for name, blob in links.items()}

    def refs(self, store: DownloadStore, place: Path) -> dict[str, str]:
        del place
        assert isinstance(store, FakeDownloadStore)
        return store.refs[FOLDER]

    @contextmanager
    def denying(self, store: DownloadStore, place: Path) -> Iterator[None]:
        del place
        assert isinstance(store, FakeDownloadStore)
        store.is_denied = True
        yield
        store.is_denied = False


class RealScene(Scene):
    def opened(self, place: Path) -> DownloadStore:
        (place / "hub").mkdir()
        return CacheDownloadStore(str(place / "hub"))

    def write(self, store: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        del store
        path = place / "hub" / FOLDER / "blobs" / blob
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def lose(self, store: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        del store
        snapshots = place / "hub" / FOLDER / "snapshots"
        if name is None:
            (snapshots / commit).rename(place / "gone")
        else:
            (snapshots / commit / name).unlink()

    def shown(self, store: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        del store
        snapshot = place / "hub" / FOLDER / "snapshots" / commit
        return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}

    def refs(self, store: DownloadStore, place: Path) -> dict[str, str]:
        del store
        refs = place / "hub" / FOLDER / "refs"
        return {str(path.relative_to(refs)): path.read_text() for path in refs.rglob("*") if path.is_file()}

    def denying(self, store: DownloadStore, place: Path) -> AbstractContextManager[None]:
        del store
        return forbidden(place / "hub")
