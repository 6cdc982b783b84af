"""The repos of the Hub, with commits, branches and tags."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from tests.fake_hub.contents import Bytes, Content, File, OnDisk

Gated = bool | Literal["auto", "manual"]

LFS_SUFFIXES = tuple(".safetensors .gguf .bin .npz .npy .pt .pth .h5 .onnx .msgpack .model .zip .png .jpg".split())
_LFS_FROM = 10 << 20
_HIDDEN = (".git", ".cache", ".DS_Store")


@attrs.frozen
class Commit:
    """An unchangeable tree of files."""

    hash: str
    files: Mapping[str, File]


@attrs.define
class Repo:
    """A model repo; a test may switch its flags at any time."""

    name: str
    gated: Gated = False
    private: bool = False
    disabled: bool = False
    xet: bool = False
    commits: dict[str, Commit] = attrs.field(factory=dict)
    branches: dict[str, str] = attrs.field(factory=dict)
    tags: dict[str, str] = attrs.field(factory=dict)

    def at(self, revision: str) -> Commit | None:
        """Return the commit that a branch, a tag, a full ref or a commit hash names."""
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        found = self.branches.get(short) or self.tags.get(short) or revision
        return self.commits.get(found)

    def commit(self, files: Mapping[str, bytes | Content], branch: str, lfs: tuple[str, ...]) -> str:
        """Put a new commit with exactly these files on a branch."""
        held = {path: _file(path, files[path], lfs) for path in sorted(files)}
        digest = hashlib.sha1(f"{self.name} {self.branches.get(branch)}".encode(), usedforsecurity=False)
        for path, file in held.items():
            digest.update(f"\n{path} {file.is_lfs} {file.content.identity}".encode("utf-8", "surrogatepass"))
        made = Commit(digest.hexdigest(), held)
        self.commits[made.hash] = made
        self.branches[branch] = made.hash
        return made.hash


@attrs.define
class Repos:
    """All repos of a Hub by name, and the new names of renamed ones."""

    held: dict[str, Repo] = attrs.field(factory=dict)
    moved: dict[str, str] = attrs.field(factory=dict)

    def make(self, name: str) -> Repo:
        """Return a repo, a new one if there is none of this name."""
        return self.held.setdefault(name, Repo(name))

    def rename(self, old: str, new: str) -> None:
        repo = self.held.pop(old)
        repo.name = new
        self.held[new] = repo
        self.moved[old] = new

    def load(self, folder: str) -> list[str]:
        """Add every ``org/name`` of a folder as a repo with one commit."""
        names = [
            f"{org}/{name}"
            for org in sorted(os.listdir(folder))
            if os.path.isdir(os.path.join(folder, org)) and org not in _HIDDEN
            for name in sorted(os.listdir(os.path.join(folder, org)))
            if os.path.isdir(os.path.join(folder, org, name)) and name not in _HIDDEN
        ]
        for name in names:
            self.make(name).commit(dict(_walk(os.path.join(folder, name))), "main", LFS_SUFFIXES)
        return names


def _file(path: str, data: bytes | Content, lfs: tuple[str, ...]) -> File:
    content = Bytes(data) if isinstance(data, bytes) else data
    return File(path, content, is_lfs=path.endswith(lfs) or content.size > _LFS_FROM)


def _walk(root: str) -> Iterator[tuple[str, Content]]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _HIDDEN]
        for name in files:
            path = os.path.join(folder, name)
            if name not in _HIDDEN and os.path.isfile(path):
                yield os.path.relpath(path, root).replace(os.sep, "/"), OnDisk.at(path)
