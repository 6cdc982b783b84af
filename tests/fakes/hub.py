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
    WrongBytes,
)
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sink, Sinks
from tests.builder import git_sha1, sha256
from tests.fake_hub import LFS_SUFFIXES, READER, STRANGER

_PIECE = 7
_TRIES = 5


class Flaw(Enum):
    """What can go wrong with one answer."""

    CUT = "it ends after two bytes"
    FLIPPED = "its last byte is wrong"
    WHOLE = "it is the whole file whatever part was asked for"
    REFUSED = "it is a refusal"


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
class RemoteShelf:
    """Fulfils ``ports.hub``."""

    repos: dict[str, RemoteRepo] = attrs.field(factory=lambda: defaultdict(RemoteRepo))
    token: str | None = None
    is_offline: bool = False
    is_silent: bool = False
    """Whether nobody answers."""
    flaws: dict[str, list[Flaw]] = attrs.field(factory=lambda: defaultdict(list))
    """What goes wrong next, by file."""
    asked: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    """From which bytes on files were asked for, by name."""

    def add(self, name: str, files: Mapping[str, bytes], ref: str = "main") -> str:
        """Commit exactly these files; return the commit."""
        repo = self.repos[name]
        listed = tuple(_remote_file(file, files[file]) for file in sorted(files))
        told = f"{name} {listed} {repo.refs.get(ref)}"
        commit = hashlib.sha1(told.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
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

    def fetch(self, commit: RemoteCommit, files: Sequence[RemoteFile], sinks: Sinks) -> None:
        self._answer()
        for file in files:
            with sinks.open(file, lambda: False) as sink:
                if sink is not None:
                    self._bring(commit, file, sink)

    def _bring(self, commit: RemoteCommit, file: RemoteFile, sink: Sink) -> None:
        wrong = failures = 0
        while True:
            try:
                before = sink.position
                for piece in self._pieces(commit, file, sink):
                    sink.write(piece)
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

    def _pieces(self, commit: RemoteCommit, file: RemoteFile, sink: Sink) -> Iterator[bytes]:
        if sink.position == file.size:
            return
        repo = self._repo(commit.name)
        if repo.is_gated and self.token != READER:
            msg = f"{commit.name} is gated"
            raise HubAccessDenied(msg)
        data = repo.contents.get((commit.commit, file.name))
        self.asked[file.name].append(sink.position)
        flaw = self.flaws[file.name].pop(0) if self.flaws[file.name] else None
        if flaw is Flaw.REFUSED or data is None:
            msg = f"{file.name} is not to be had"
            raise DownloadFailed(msg)
        if flaw is Flaw.WHOLE:
            sink.restart()
        if flaw is Flaw.FLIPPED:
            data = data[:-1] + bytes([data[-1] ^ 0xFF])
        end = sink.position + 2 if flaw is Flaw.CUT else len(data)
        for at in range(sink.position, end, _PIECE):
            yield data[at : min(end, at + _PIECE)]

    def _repo(self, name: str) -> RemoteRepo:
        self._answer()
        repo = self.repos.get(name)
        if repo is None or (repo.is_private and self.token != READER):
            msg = f"There is no {name}"
            raise DownloadFailed(msg)
        if repo.is_disabled:
            msg = f"{name} is out of service"
            raise HubAccessDenied(msg)
        return repo

    def _answer(self) -> None:
        if self.is_offline:
            msg = "Offline"
            raise HubOffline(msg)
        if self.is_silent:
            msg = "Nobody answers"
            raise NetworkError(msg)
        if self.token not in (None, READER, STRANGER):
            msg = "Who are you?"
            raise HubAuthError(msg)


def _remote_file(name: str, data: bytes) -> RemoteFile:
    if not name.endswith(LFS_SUFFIXES):
        return RemoteFile(name, len(data), RecordedHash(HashAlgorithm.GIT_SHA1, git_sha1(data)), git_sha1(data))
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n"
    return RemoteFile(name, len(data), RecordedHash(HashAlgorithm.SHA256, sha256(data)), git_sha1(pointer.encode()))
