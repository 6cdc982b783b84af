"""The intakes that the contracts of ``ports.download_store`` and ``ports.sinks`` are tried on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.domain.transfer.values import Held, Holding, RemoteCommit, RemoteFile
from mlxknife.ports.store.download_store import DownloadStore, SnapshotPublisher
from mlxknife.ports.system.progress import Silence
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


def receive(download_store: DownloadStore, *, force_download: bool = False) -> SnapshotPublisher:
    return download_store.publisher(FOLDER, Silence(), force_download=force_download)


def held(download_store: DownloadStore, commit: RemoteCommit = COMMIT) -> dict[str, Held]:
    return {holding.file.name: holding.held for holding in look(download_store, commit)}


def look(download_store: DownloadStore, commit: RemoteCommit = COMMIT) -> tuple[Holding, ...]:
    return download_store.holdings(FOLDER, commit.commit, commit.files)


def bring(publisher: SnapshotPublisher, file: RemoteFile, data: bytes) -> None:
    with publisher.open(file, never) as sink:
        assert sink is not None
        sink.write(data[sink.position :])
        sink.finish()


def take_in(
    download_store: DownloadStore,
    files: dict[str, bytes] = FILES,
    commit: RemoteCommit = COMMIT,
    ref: str | None = "main",
) -> None:
    publisher = receive(download_store)
    holdings = look(download_store, commit)
    for holding in holdings:
        with publisher.open(holding.file, never) as sink:
            if sink is not None:
                sink.write(files[holding.file.name][sink.position :])
                sink.finish()
    publisher.publish(commit, holdings, ref)


def proven(holdings: Sequence[Holding]) -> list[Holding]:
    return [attrs.evolve(holding, held=Held.TRUSTED) for holding in holdings]


class Scene(ABC):
    """An download_store, and what can be done to its cache and seen of it from outside."""

    @abstractmethod
    def opened(self, place: Path) -> DownloadStore:
        """Return an download_store of an empty cache."""

    @abstractmethod
    def write(self, download_store: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        """Write to a blob from outside."""

    @abstractmethod
    def lose(self, download_store: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        """Remove the link of a snapshot, or all of it, from outside."""

    @abstractmethod
    def shown(self, download_store: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        """Return what the files of a snapshot lead to."""

    @abstractmethod
    def refs(self, download_store: DownloadStore, place: Path) -> dict[str, str]:
        """Return the refs of the repo."""

    @abstractmethod
    def denying(self, download_store: DownloadStore, place: Path) -> AbstractContextManager[None]:
        """Take away the right to change the cache."""


class FakeScene(Scene):
    def opened(self, place: Path) -> FakeDownloadStore:
        del place
        return FakeDownloadStore()

    def write(self, download_store: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        del place
        assert isinstance(download_store, FakeDownloadStore)
        download_store.write(FOLDER, blob, data)

    def lose(self, download_store: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        del place
        assert isinstance(download_store, FakeDownloadStore)
        if name is None:
            del download_store.snapshots[FOLDER][commit]
        else:
            del download_store.snapshots[FOLDER][commit][name]

    def shown(self, download_store: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        del place
        assert isinstance(download_store, FakeDownloadStore)
        links = download_store.snapshots[FOLDER].get(commit, {})
        return {name: download_store.disk[blobs_of(FOLDER), blob] for name, blob in links.items()}

    def refs(self, download_store: DownloadStore, place: Path) -> dict[str, str]:
        del place
        assert isinstance(download_store, FakeDownloadStore)
        return download_store.refs[FOLDER]

    @contextmanager
    def denying(self, download_store: DownloadStore, place: Path) -> Iterator[None]:
        del place
        assert isinstance(download_store, FakeDownloadStore)
        download_store.is_denied = True
        yield
        download_store.is_denied = False


class RealScene(Scene):
    def opened(self, place: Path) -> DownloadStore:
        (place / "hub").mkdir()
        return CacheDownloadStore(str(place / "hub"))

    def write(self, download_store: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        del download_store
        path = place / "hub" / FOLDER / "blobs" / blob
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def lose(self, download_store: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        del download_store
        snapshots = place / "hub" / FOLDER / "snapshots"
        if name is None:
            (snapshots / commit).rename(place / "gone")
        else:
            (snapshots / commit / name).unlink()

    def shown(self, download_store: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        del download_store
        snapshot = place / "hub" / FOLDER / "snapshots" / commit
        return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}

    def refs(self, download_store: DownloadStore, place: Path) -> dict[str, str]:
        del download_store
        refs = place / "hub" / FOLDER / "refs"
        return {str(path.relative_to(refs)): path.read_text() for path in refs.rglob("*") if path.is_file()}

    def denying(self, download_store: DownloadStore, place: Path) -> AbstractContextManager[None]:
        del download_store
        return forbidden(place / "hub")
