"""A small model, and how tests pull it into a cache on disk."""

from __future__ import annotations

from pathlib import Path

from mlxknife.adapters.hfcache.download_store import CacheDownloadStore
from mlxknife.domain.transfer.values import CachedFileState, RemoteCommit, RemoteFile
from mlxknife.ports.store.download_store import SnapshotPublisher
from mlxknife.ports.system.progress import NoProgress
from tests.fakes.hub import InMemoryHub

FOLDER = "models--org--name"
FILES = {"a.safetensors": b"first weights", "config.json": b"{}", "sub/x.txt": b"x"}


def _remote() -> RemoteCommit:
    hub = InMemoryHub()
    return hub.commit("org/name", hub.add("org/name", FILES))


COMMIT = _remote()
WEIGHTS = COMMIT.files[0]


def never() -> bool:
    return False


def download(store: CacheDownloadStore, file: RemoteFile = WEIGHTS, publisher: SnapshotPublisher | None = None) -> None:
    publisher = publisher or store.publisher(FOLDER, NoProgress(), force_download=False)
    with publisher.open(file, never) as sink:
        if sink is not None:
            sink.write(FILES[file.name][sink.position :])
            sink.finish()


def pull(store: CacheDownloadStore, commit: RemoteCommit = COMMIT) -> None:
    with store.lock_shared(FOLDER):
        publisher = store.publisher(FOLDER, NoProgress(), force_download=False)
        for file in commit.files:
            download(store, file, publisher)
        publisher.publish(commit, store.cached_files(FOLDER, commit.commit, commit.files), "main")


def publish(store: CacheDownloadStore) -> None:
    """Download the small files and publish all; a held lock of the weights' blob does not matter, since it is there."""
    publisher = store.publisher(FOLDER, NoProgress(), force_download=False)
    for file in COMMIT.files[1:]:
        download(store, file, publisher)
    publisher.publish(COMMIT, store.cached_files(FOLDER, COMMIT.commit, COMMIT.files), None)


def held(store: CacheDownloadStore) -> list[CachedFileState]:
    return [cached.state for cached in store.cached_files(FOLDER, COMMIT.commit, COMMIT.files)]


def shown(repo: Path) -> dict[str, bytes]:
    snapshot = repo / "snapshots" / COMMIT.commit
    return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}
