"""A cache in memory that models can be taken into."""

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
    """Tell whether bytes are those of a file."""
    digest = sha256(data) if file.hash.algorithm is HashAlgorithm.SHA256 else git_sha1(data)
    return len(data) == file.size and digest == file.hash.digest


@attrs.define
class MemorySink:
    """Fulfils ``ports.sinks.Sink``; ``failure`` is what the disk says to a write."""

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
            msg = "There are more bytes than the file has"
            raise WrongBytes(msg)
        self.data += data

    def restart(self) -> None:
        self.data.clear()

    def finish(self) -> None:
        if not is_right(bytes(self.data), self.file):
            self.restart()
            msg = "These are other bytes"
            raise WrongBytes(msg)
        self.is_finished = True


@attrs.define
class MemorySinks:
    """Fulfils ``ports.sinks.Sinks``, by the names of the files. ``brought`` are those that somebody else brought."""

    begun: Mapping[str, bytes] = attrs.field(factory=dict)
    failures: Mapping[str, KnifeError] = attrs.field(factory=dict)
    brought: frozenset[str] = frozenset()
    sinks: dict[str, MemorySink] = attrs.field(factory=dict)
    closed: list[str] = attrs.field(factory=list)

    @contextmanager
    def open(self, file: RemoteFile, is_given_up: Callable[[], bool]) -> Iterator[MemorySink | None]:
        if is_given_up() or file.name in self.brought:
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
class FakeIntake:
    """Fulfils ``ports.intake``; ``store`` is a cache in memory that shows what was published."""

    store: FakeStore = attrs.field(factory=FakeStore)
    disk: dict[tuple[str, str], bytes] = attrs.field(factory=dict)
    """Blobs, by the location and name that a hasher is told."""
    partials: dict[tuple[str, str], bytearray] = attrs.field(factory=dict)
    snapshots: dict[str, dict[str, dict[str, str]]] = attrs.field(factory=lambda: defaultdict(dict))
    """The blobs that files lead to, by folder, commit and name."""
    refs: dict[str, dict[str, str]] = attrs.field(factory=lambda: defaultdict(dict))
    listings: dict[tuple[str, str], RemoteCommit] = attrs.field(factory=dict)
    untidy: set[str] = attrs.field(factory=set)
    """The folders that somebody was stopped in."""
    free: int = 10**12
    is_denied: bool = False
    guards: list[str] = attrs.field(factory=list)
    """The folders that are held at this moment."""
    locks: dict[tuple[str, str], threading.Lock] = attrs.field(factory=lambda: defaultdict(threading.Lock))
    _writes: dict[tuple[str, str], int] = attrs.field(factory=lambda: defaultdict(int))
    _stamps: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = attrs.field(factory=dict)

    def write(self, folder: str, blob: str, data: bytes) -> None:
        """Write to a blob, as anybody may."""
        place = (blobs_of(folder), blob)
        self.disk[place] = data
        self._writes[place] += 1

    def stamp(self, place: tuple[str, str], digest: str) -> None:
        """Remember that a blob is right."""
        self._stamps[place] = (digest, self.identity(place))

    def identity(self, place: tuple[str, str]) -> tuple[int, ...]:
        return (len(self.disk[place]), self._writes[place])

    def show(self) -> None:
        """Let the store show what is here."""
        for folder in {*self.snapshots, *self.refs}:
            self.store.add(folder, refs=self.refs[folder], snapshots=self.snapshots[folder])

    def permit(self) -> None:
        if self.is_denied:
            msg = "Not you"
            raise AccessDenied(msg)

    @contextmanager
    def guarded(self, folder: str, progress: Progress | None = None, *, waits: bool = True) -> Iterator[None]:
        del progress, waits  # nobody removes anything here
        self.permit()
        self.guards.append(folder)
        try:
            yield
        finally:
            self.guards.remove(folder)

    def cached_files(self, folder: str, commit: str, files: Sequence[RemoteFile]) -> tuple[CachedFile, ...]:
        links = self.snapshots[folder].get(commit, {}) if folder in self.snapshots else {}
        return tuple(self._holding(folder, links.get(file.name), file) for file in files)

    def is_untidy(self, folder: str) -> bool:
        return folder in self.untidy

    def free_bytes(self) -> int:
        return self.free

    def reception(self, folder: str, progress: Progress, *, afresh: bool) -> FakeReception:
        return FakeReception(self, folder, progress, afresh)

    def _holding(self, folder: str, linked: str | None, file: RemoteFile) -> CachedFile:
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
        is_known = self._stamps.get(place) == (file.hash.digest, identity)
        return CachedFile(
            file=file,
            state=CachedFileState.VERIFIED if is_known else CachedFileState.UNVERIFIED,
            location=Location(place[0], (place[0],)),
            name=blob,
            identity=identity,
            is_linked=is_linked,
        )


@attrs.define
class FakeReception:
    """Fulfils ``ports.intake.SnapshotPublisher``."""

    intake: FakeIntake
    folder: str
    progress: Progress
    afresh: bool
    came: set[str] = attrs.field(factory=set)
    """The blobs that were proven here."""

    @contextmanager
    def open(self, file: RemoteFile, is_given_up: Callable[[], bool]) -> Iterator[MemorySink | None]:
        self.intake.permit()
        digest = file.hash.digest
        lock, place = self.intake.locks[self.folder, digest], (blobs_of(self.folder), digest)
        while not lock.acquire(timeout=_LOOK_AGAIN):
            if is_given_up():
                yield None
                return
        try:
            if not self.afresh and is_right(self.intake.disk.get(place, b""), file) and place in self.intake.disk:
                self.came.add(digest)
                yield None
                return
            sink = MemorySink(file, self.intake.partials.setdefault((self.folder, digest), bytearray()))
            if sink.position > file.size:
                sink.restart()
            self.progress.begin_file(file.name, file.size, sink.position)
            try:
                yield sink
            finally:
                self.progress.end_file(file.name)
            if sink.is_finished:
                self.intake.write(self.folder, digest, bytes(sink.data))
                del self.intake.partials[self.folder, digest]
                self.came.add(digest)
        finally:
            lock.release()

    def publish(self, commit: RemoteCommit, cached_files: Sequence[CachedFile], ref: str | None) -> None:
        self.intake.permit()
        links = dict(self.intake.snapshots[self.folder].get(commit.commit, {}))
        for cached in cached_files:
            is_kept = cached.is_linked and cached.is_verified and links.get(cached.file.name) == cached.name
            digest = cached.name if is_kept else cached.file.hash.digest
            if (blobs_of(self.folder), digest) not in self.intake.disk:
                msg = f"{cached.file.name} is not there"
                raise DownloadFailed(msg)
            links[cached.file.name] = digest
            is_as_seen = self.intake.identity((blobs_of(self.folder), digest)) == cached.identity
            if digest in self.came or (cached.is_verified and is_as_seen):
                self.intake.stamp((blobs_of(self.folder), digest), cached.file.hash.digest)
        self.intake.listings[self.folder, commit.commit] = commit
        self.intake.snapshots[self.folder][commit.commit] = links
        if ref is not None:
            self.intake.refs[self.folder][ref] = commit.commit
        self.intake.show()


def blobs_of(folder: str) -> str:
    """Return the location of the blobs of a repo."""
    return f"{folder}/blobs"
