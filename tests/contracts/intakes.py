"""The intakes that the contracts of ``ports.intake`` and ``ports.sinks`` are tried on."""

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
from tests.fakes.hub import RemoteShelf
from tests.fakes.intake import FakeIntake, blobs_of

FOLDER = "models--org--name"
FILES = {"a.safetensors": b"first weights", "b.safetensors": b"other weights", "config.json": b"{}", "sub/x.txt": b"x"}


def _remote(files: dict[str, bytes]) -> RemoteCommit:
    hub = RemoteShelf()
    return hub.commit("org/name", hub.add("org/name", files))


COMMIT, OTHER = _remote(FILES), _remote({"config.json": b"{}", "more/deep/y.txt": b"y"})
A = COMMIT.files[0]
WRONG = b"wrong weights"


def never() -> bool:
    return False


def receive(intake: DownloadStore, *, afresh: bool = False) -> SnapshotPublisher:
    return intake.reception(FOLDER, NoProgress(), afresh=afresh)


def held(intake: DownloadStore, commit: RemoteCommit = COMMIT) -> dict[str, CachedFileState]:
    return {cached.file.name: cached.state for cached in look(intake, commit)}


def look(intake: DownloadStore, commit: RemoteCommit = COMMIT) -> tuple[CachedFile, ...]:
    return intake.cached_files(FOLDER, commit.commit, commit.files)


def bring(reception: SnapshotPublisher, file: RemoteFile, data: bytes) -> None:
    with reception.open(file, never) as sink:
        assert sink is not None
        sink.write(data[sink.position :])
        sink.finish()


def take_in(
    intake: DownloadStore, files: dict[str, bytes] = FILES, commit: RemoteCommit = COMMIT, ref: str | None = "main"
) -> None:
    reception = receive(intake)
    cached_files = look(intake, commit)
    for cached in cached_files:
        with reception.open(cached.file, never) as sink:
            if sink is not None:
                sink.write(files[cached.file.name][sink.position :])
                sink.finish()
    reception.publish(commit, cached_files, ref)


def proven(cached_files: Sequence[CachedFile]) -> list[CachedFile]:
    return [attrs.evolve(cached, state=CachedFileState.VERIFIED) for cached in cached_files]


class Scene(ABC):
    """An intake, and what can be done to its cache and seen of it from outside."""

    @abstractmethod
    def opened(self, place: Path) -> DownloadStore:
        """Return an intake of an empty cache."""

    @abstractmethod
    def write(self, intake: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        """Write to a blob from outside."""

    @abstractmethod
    def lose(self, intake: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        """Remove the link of a snapshot, or all of it, from outside."""

    @abstractmethod
    def shown(self, intake: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        """Return what the files of a snapshot lead to."""

    @abstractmethod
    def refs(self, intake: DownloadStore, place: Path) -> dict[str, str]:
        """Return the refs of the repo."""

    @abstractmethod
    def denying(self, intake: DownloadStore, place: Path) -> AbstractContextManager[None]:
        """Take away the right to change the cache."""


class FakeScene(Scene):
    def opened(self, place: Path) -> FakeIntake:
        del place
        return FakeIntake()

    def write(self, intake: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        del place
        assert isinstance(intake, FakeIntake)
        intake.write(FOLDER, blob, data)

    def lose(self, intake: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        del place
        assert isinstance(intake, FakeIntake)
        if name is None:
            del intake.snapshots[FOLDER][commit]
        else:
            del intake.snapshots[FOLDER][commit][name]

    def shown(self, intake: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        del place
        assert isinstance(intake, FakeIntake)
        links = intake.snapshots[FOLDER].get(commit, {})
        return {name: intake.disk[blobs_of(FOLDER), blob] for name, blob in links.items()}

    def refs(self, intake: DownloadStore, place: Path) -> dict[str, str]:
        del place
        assert isinstance(intake, FakeIntake)
        return intake.refs[FOLDER]

    @contextmanager
    def denying(self, intake: DownloadStore, place: Path) -> Iterator[None]:
        del place
        assert isinstance(intake, FakeIntake)
        intake.is_denied = True
        yield
        intake.is_denied = False


class RealScene(Scene):
    def opened(self, place: Path) -> DownloadStore:
        (place / "hub").mkdir()
        return CacheDownloadStore(str(place / "hub"))

    def write(self, intake: DownloadStore, place: Path, blob: str, data: bytes) -> None:
        del intake
        path = place / "hub" / FOLDER / "blobs" / blob
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def lose(self, intake: DownloadStore, place: Path, commit: str, name: str | None) -> None:
        del intake
        snapshots = place / "hub" / FOLDER / "snapshots"
        if name is None:
            (snapshots / commit).rename(place / "gone")
        else:
            (snapshots / commit / name).unlink()

    def shown(self, intake: DownloadStore, place: Path, commit: str) -> dict[str, bytes]:
        del intake
        snapshot = place / "hub" / FOLDER / "snapshots" / commit
        return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}

    def refs(self, intake: DownloadStore, place: Path) -> dict[str, str]:
        del intake
        refs = place / "hub" / FOLDER / "refs"
        return {str(path.relative_to(refs)): path.read_text() for path in refs.rglob("*") if path.is_file()}

    def denying(self, intake: DownloadStore, place: Path) -> AbstractContextManager[None]:
        del intake
        return forbidden(place / "hub")
