"""A small model on its way into a cache on disk."""

from __future__ import annotations

from pathlib import Path

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.domain.transfer.values import CachedFileState, RemoteCommit, RemoteFile
from mlxknife.ports.store.download_store import SnapshotPublisher
from mlxknife.ports.system.progress import NoProgress
from tests.fakes.hub import RemoteShelf

FOLDER = "models--org--name"
FILES = {"a.safetensors": b"first weights", "config.json": b"{}", "sub/x.txt": b"x"}


def _remote() -> RemoteCommit:
    hub = RemoteShelf()
    return hub.commit("org/name", hub.add("org/name", FILES))


COMMIT = _remote()
WEIGHTS = COMMIT.files[0]


def never() -> bool:
    return False


def bring(intake: CacheDownloadStore, file: RemoteFile = WEIGHTS, reception: SnapshotPublisher | None = None) -> None:
    reception = reception or intake.reception(FOLDER, NoProgress(), afresh=False)
    with reception.open(file, never) as sink:
        if sink is not None:
            sink.write(FILES[file.name][sink.position :])
            sink.finish()


def take_in(intake: CacheDownloadStore, commit: RemoteCommit = COMMIT) -> None:
    with intake.guarded(FOLDER):
        reception = intake.reception(FOLDER, NoProgress(), afresh=False)
        for file in commit.files:
            bring(intake, file, reception)
        reception.publish(commit, intake.cached_files(FOLDER, commit.commit, commit.files), "main")


def publish(intake: CacheDownloadStore) -> None:
    """Bring what is missing, and publish; who holds the lock of a blob that is there is in nobody's way."""
    reception = intake.reception(FOLDER, NoProgress(), afresh=False)
    for file in COMMIT.files[1:]:
        bring(intake, file, reception)
    reception.publish(COMMIT, intake.cached_files(FOLDER, COMMIT.commit, COMMIT.files), None)


def held(intake: CacheDownloadStore) -> list[CachedFileState]:
    return [cached.state for cached in intake.cached_files(FOLDER, COMMIT.commit, COMMIT.files)]


def shown(repo: Path) -> dict[str, bytes]:
    snapshot = repo / "snapshots" / COMMIT.commit
    return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}
