"""A Hub in memory."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

import attrs

from mlxknife.domain.errors import (
    DownloadFailed,
    HubAccessDenied,
    HubAuthError,
    HubOffline,
    NetworkError,
    RepoNotFound,
    WrongBytes,
)
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sink, Sinks
from tests.builder import git_sha1, sha256
from tests.fake_hub import LFS_SUFFIXES, READER, STRANGER

_CHUNK = 7
_TRIES = 5


class Flaw(Enum):
    """A fault of one response."""

    CUT = "it ends after two bytes"
    FLIPPED = "its last byte is wrong"
    WHOLE = "it is the whole file instead of the requested part"
    REFUSED = "it is an error"


@attrs.define
class RemoteRepo:
    """A model on the Hub; refs are branches and tags."""

    commits: dict[str, RemoteCommit] = attrs.field(factory=dict)
    contents: dict[tuple[str, str], bytes] = attrs.field(factory=dict)
    refs: dict[str, str] = attrs.field(factory=dict)
    is_gated: bool = False
    is_private: bool = False
    is_disabled: bool = False


@attrs.define
class InMemoryHub:
    """Implements ``Hub``."""

    repos: dict[str, RemoteRepo] = attrs.field(factory=lambda: defaultdict(RemoteRepo))
    token: str | None = None
    is_offline: bool = False
    is_silent: bool = False
    """Whether no request is answered."""
    flaws: dict[str, list[Flaw]] = attrs.field(factory=lambda: defaultdict(list))
    """The faults of the next responses, by file."""
    requested: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    """The start positions of the requests for each file."""
    found: tuple[str, ...] = ()
    """Names that every search finds."""
    searched: list[str] = attrs.field(factory=list)

    def add(self, name: str, files: Mapping[str, bytes], ref: str = "main") -> str:
        """Commit exactly these files; return the commit."""
        repo = self.repos[name]
        listed = tuple(_remote_file(file, files[file]) for file in sorted(files))
        identity = f"{name} {listed} {repo.refs.get(ref)}"
        commit = hashlib.sha1(identity.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        repo.commits[commit] = RemoteCommit(name, commit, listed)
        repo.contents |= {(commit, file): data for file, data in files.items()}
        repo.refs[ref] = commit
        return commit

    def commit(self, name: str, revision: str) -> RemoteCommit:
        repo = self._repo(name)
        commit = repo.commits.get(repo.refs.get(revision, revision))
        if commit is None:
            msg = f"{name} has no {revision}"
            raise DownloadFailed(msg)
        return commit

    def search(self, text: str, limit: int) -> tuple[str, ...]:
        self._check_access()
        self.searched.append(text)
        may_see_all = self.token == READER
        found = [
            name
            for name, repo in self.repos.items()
            if text.lower() in name.lower() and (may_see_all or not repo.is_private)
        ]
        return (*self.found, *found)[:limit]

    def fetch(self, commit: RemoteCommit, files: Sequence[RemoteFile], sinks: Sinks) -> None:
        self._check_access()
        for file in files:
            with sinks.open(file, lambda: False) as sink:
                if sink is not None:
                    self._download(commit, file, sink)

    def _download(self, commit: RemoteCommit, file: RemoteFile, sink: Sink) -> None:
        wrong = failures = 0
        while True:
            try:
                before = sink.position
                for chunk in self._chunks(commit, file, sink):
                    sink.write(chunk)
                if sink.position == file.size:
                    sink.finish()
                    return
                failures = 1 if sink.position > before else failures + 1
            except WrongBytes:
                wrong += 1
                if wrong > 1:
                    raise
                sink.restart()
            if failures == _TRIES:
                msg = f"{file.name} breaks off"
                raise NetworkError(msg)

    def _chunks(self, commit: RemoteCommit, file: RemoteFile, sink: Sink) -> Iterator[bytes]:
        if sink.position == file.size:
            return
        repo = self._repo(commit.name)
        if repo.is_gated and self.token != READER:
            msg = f"{commit.name} is gated"
            raise HubAccessDenied(msg)
        data = repo.contents.get((commit.commit, file.name))
        self.requested[file.name].append(sink.position)
        flaw = self.flaws[file.name].pop(0) if self.flaws[file.name] else None
        if flaw is Flaw.REFUSED or data is None:
            msg = f"{file.name} cannot be downloaded"
            raise DownloadFailed(msg)
        if flaw is Flaw.WHOLE:
            sink.restart()
        if flaw is Flaw.FLIPPED:
            data = data[:-1] + bytes([data[-1] ^ 0xFF])
        end = sink.position + 2 if flaw is Flaw.CUT else len(data)
        for at in range(sink.position, end, _CHUNK):
            yield data[at : min(end, at + _CHUNK)]

    def _repo(self, name: str) -> RemoteRepo:
        self._check_access()
        repo = self.repos.get(name)
        if repo is None or (repo.is_private and self.token != READER):
            msg = f"There is no {name}"
            raise RepoNotFound(msg)
        if repo.is_disabled:
            msg = f"{name} is disabled"
            raise HubAccessDenied(msg)
        return repo

    def _check_access(self) -> None:
        if self.is_offline:
            msg = "Offline"
            raise HubOffline(msg)
        if self.is_silent:
            msg = "No answer"
            raise NetworkError(msg)
        if self.token not in (None, READER, STRANGER):
            msg = "The token is not accepted"
            raise HubAuthError(msg)


def _remote_file(name: str, data: bytes) -> RemoteFile:
    if not name.endswith(LFS_SUFFIXES):
        return RemoteFile(name, len(data), RecordedHash(HashAlgorithm.GIT_SHA1, git_sha1(data)), git_sha1(data))
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n"
    return RemoteFile(name, len(data), RecordedHash(HashAlgorithm.SHA256, sha256(data)), git_sha1(pointer.encode()))
