"""A download store in memory."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs

from mlxknife.domain.errors import AccessDenied, DownloadFailed, KnifeError, WrongBytes
from mlxknife.domain.models.values.hashes import HashAlgorithm
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.transfer.values import CachedFile, CachedFileState, RemoteCommit, RemoteFile
from mlxknife.ports.system.progress import Progress
from tests.builder import git_sha1, sha256
from tests.fakes.model_store import FakeStore

_LOOK_AGAIN = 0.01


def is_right(data: bytes, file: RemoteFile) -> bool:
    """Return whether bytes have the size and hash of a file."""
    digest = sha256(data) if file.hash.algorithm is HashAlgorithm.SHA256 else git_sha1(data)
    return len(data) == file.size and digest == file.hash.digest


@attrs.define
class MemorySink:
    """Implements ``Sink``; ``failure`` is raised by every write."""

    file: RemoteFile
    data: bytearray = attrs.field(factory=bytearray)
    failure: KnifeError | None = None
    is_finished: bool = False

    @property
    def position(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        if len(self.data) + len(data) > self.file.size:
            msg = "More bytes than the file has"
            raise WrongBytes(msg)
        self.data += data

    def restart(self) -> None:
        self.data.clear()

    def finish(self) -> None:
        if not is_right(bytes(self.data), self.file):
            self.restart()
            msg = "The hash is wrong"
            raise WrongBytes(msg)
        self.is_finished = True


@attrs.define
class MemorySinks:
    """Implements ``Sinks``. ``begun`` are partial downloads, ``stored_elsewhere`` files that another process stored."""

    begun: Mapping[str, bytes] = attrs.field(factory=dict)
    failures: Mapping[str, KnifeError] = attrs.field(factory=dict)
    stored_elsewhere: frozenset[str] = frozenset()
    sinks: dict[str, MemorySink] = attrs.field(factory=dict)
    closed: list[str] = attrs.field(factory=list)

    @contextmanager
    def open(self, file: RemoteFile, is_cancelled: Callable[[], bool]) -> Iterator[MemorySink | None]:
        if is_cancelled() or file.name in self.stored_elsewhere:
            yield None
            return
        begun = bytearray(self.begun.get(file.name, b""))
        self.sinks[file.name] = MemorySink(file, begun, self.failures.get(file.name))
        try:
            yield self.sinks[file.name]
        finally:
            self.closed.append(file.name)

    def finished(self) -> dict[str, bytes]:
        return {name: bytes(sink.data) for name, sink in self.sinks.items() if sink.is_finished}


@attrs.define
class FakeDownloadStore:
    """Implements ``DownloadStore``; ``store`` is a model store that shows what was published."""

    store: FakeStore = attrs.field(factory=FakeStore)
    disk: dict[tuple[str, str], bytes] = attrs.field(factory=dict)
    """Blobs, by the location and name of their hash jobs."""
    partials: dict[tuple[str, str], bytearray] = attrs.field(factory=dict)
    snapshots: dict[str, dict[str, dict[str, str]]] = attrs.field(factory=lambda: defaultdict(dict))
    """The blobs that files link to, by folder, commit and name."""
    refs: dict[str, dict[str, str]] = attrs.field(factory=lambda: defaultdict(dict))
    listings: dict[tuple[str, str], RemoteCommit] = attrs.field(factory=dict)
    leftovers: set[str] = attrs.field(factory=set)
    """The folders in which a download was interrupted."""
    free: int = 10**12
    is_denied: bool = False
    locked: list[str] = attrs.field(factory=list)
    """The folders that are locked at this moment."""
    locks: dict[tuple[str, str], threading.Lock] = attrs.field(factory=lambda: defaultdict(threading.Lock))
    _writes: dict[tuple[str, str], int] = attrs.field(factory=lambda: defaultdict(int))
    _stamps: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = attrs.field(factory=dict)

    def write(self, folder: str, blob: str, data: bytes) -> None:
        """Write to a blob from outside."""
        place = (blobs_of(folder), blob)
        self.disk[place] = data
        self._writes[place] += 1

    def stamp(self, place: tuple[str, str], digest: str) -> None:
        """Stamp a blob as verified."""
        self._stamps[place] = (digest, self.identity(place))

    def identity(self, place: tuple[str, str]) -> tuple[int, ...]:
        return (len(self.disk[place]), self._writes[place])

    def show(self) -> None:
        """Show the snapshots and refs in ``store``."""
        for folder in {*self.snapshots, *self.refs}:
            self.store.add(folder, refs=self.refs[folder], snapshots=self.snapshots[folder])

    def permit(self) -> None:
        if self.is_denied:
            msg = "Permission denied"
            raise AccessDenied(msg)

    @contextmanager
    def lock_shared(self, folder: str, progress: Progress | None = None, *, waits: bool = True) -> Iterator[None]:
        del progress, waits  # no other process removes anything here
        self.permit()
        self.locked.append(folder)
        try:
            yield
        finally:
            self.locked.remove(folder)

    def cached_files(self, folder: str, commit: str, files: Sequence[RemoteFile]) -> tuple[CachedFile, ...]:
        links = self.snapshots[folder].get(commit, {}) if folder in self.snapshots else {}
        return tuple(self._cached_file(folder, links.get(file.name), file) for file in files)

    def has_listing(self, folder: str, commit: str) -> bool:
        return (folder, commit) in self.listings

    def has_leftovers(self, folder: str) -> bool:
        return folder in self.leftovers

    def free_bytes(self) -> int:
        return self.free

    def publisher(self, folder: str, progress: Progress, *, force_download: bool) -> FakePublisher:
        return FakePublisher(self, folder, progress, force_download)

    def _cached_file(self, folder: str, linked: str | None, file: RemoteFile) -> CachedFile:
        found = None
        if linked is not None:
            found = self._at(folder, linked, file, is_linked=True) or CachedFile(file, CachedFileState.DAMAGED)
        if found is None or found.state is CachedFileState.DAMAGED:
            found = self._at(folder, file.hash.digest, file, is_linked=False) or found
        partial = min(len(self.partials.get((folder, file.hash.digest), b"")), file.size)
        return attrs.evolve(found or CachedFile(file, CachedFileState.MISSING), partial_bytes=partial)

    def _at(self, folder: str, blob: str, file: RemoteFile, *, is_linked: bool) -> CachedFile | None:
        place = (blobs_of(folder), blob)
        if place not in self.disk:
            return None
        if len(self.disk[place]) != file.size:
            return CachedFile(file, CachedFileState.DAMAGED)
        identity = self.identity(place)
        is_stamped = self._stamps.get(place) == (file.hash.digest, identity)
        return CachedFile(
            file=file,
            state=CachedFileState.VERIFIED if is_stamped else CachedFileState.UNVERIFIED,
            location=Location(place[0], (place[0],)),
            name=blob,
            identity=identity,
            is_linked=is_linked,
        )


@attrs.define
class FakePublisher:
    """Implements ``SnapshotPublisher``."""

    download_store: FakeDownloadStore
    folder: str
    progress: Progress
    force_download: bool
    verified: set[str] = attrs.field(factory=set)
    """The blobs that were hashed here."""

    @contextmanager
    def open(self, file: RemoteFile, is_cancelled: Callable[[], bool]) -> Iterator[MemorySink | None]:
        self.download_store.permit()
        digest = file.hash.digest
        lock, place = self.download_store.locks[self.folder, digest], (blobs_of(self.folder), digest)
        while not lock.acquire(timeout=_LOOK_AGAIN):
            if is_cancelled():
                yield None
                return
        try:
            if (
                not self.force_download
                and is_right(self.download_store.disk.get(place, b""), file)
                and place in self.download_store.disk
            ):
                self.verified.add(digest)
                yield None
                return
            sink = MemorySink(file, self.download_store.partials.setdefault((self.folder, digest), bytearray()))
            if sink.position > file.size:
                sink.restart()
            self.progress.begin_file(file.name, file.size, sink.position)
            try:
                yield sink
            finally:
                self.progress.end_file(file.name)
            if sink.is_finished:
                self.download_store.write(self.folder, digest, bytes(sink.data))
                del self.download_store.partials[self.folder, digest]
                self.verified.add(digest)
        finally:
            lock.release()

    def publish(self, commit: RemoteCommit, cached_files: Sequence[CachedFile], ref: str | None) -> None:
        self.download_store.permit()
        links = dict(self.download_store.snapshots[self.folder].get(commit.commit, {}))
        for cached in cached_files:
            is_kept = cached.is_linked and cached.is_verified and links.get(cached.file.name) == cached.name
            digest = cached.name if is_kept else cached.file.hash.digest
            if (blobs_of(self.folder), digest) not in self.download_store.disk:
                msg = f"{cached.file.name} is not there"
                raise DownloadFailed(msg)
            links[cached.file.name] = digest
            is_as_seen = self.download_store.identity((blobs_of(self.folder), digest)) == cached.identity
            if digest in self.verified or (cached.is_verified and is_as_seen):
                self.download_store.stamp((blobs_of(self.folder), digest), cached.file.hash.digest)
        self.download_store.listings[self.folder, commit.commit] = commit
        self.download_store.snapshots[self.folder][commit.commit] = links
        if ref is not None:
            self.download_store.refs[self.folder][ref] = commit.commit
        self.download_store.show()


def blobs_of(folder: str) -> str:
    """Return the location of the blobs of a repo."""
    return f"{folder}/blobs"
