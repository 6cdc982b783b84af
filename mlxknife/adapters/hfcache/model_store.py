"""Repos, refs and snapshots of the cache, without reading the files of a model."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping

from mlxknife.adapters.hfcache import trees
from mlxknife.adapters.hfcache.layout import BLOBS, REFS, REPO_PREFIX, SHARED_STORE, SNAPSHOTS, TREES, blob_of_partial
from mlxknife.adapters.hfcache.safe_files import read_small
from mlxknife.domain.errors import StorageError
from mlxknife.domain.filesystem_errors import map_filesystem_errors
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot, Ref

_COMMIT = re.compile(rb"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_MAIN = "main"
_MAX_REF = 256
_MAX_REF_DEPTH = 8

_Parts = dict[str, os.DirEntry[str]]


class CacheModelStore:
    """The models of one cache in the layout of huggingface_hub. Implements ``ModelStore``."""

    def __init__(self, root: str) -> None:
        """Take the folder that huggingface_hub calls its cache (``.../hub``)."""
        self._root = os.path.realpath(root)

    def folders(self) -> tuple[str, ...]:
        """See ``ModelStore.folders``."""
        failure, hint = (
            f"The model cache {self._root} cannot be read",
            HintCode.CACHE_PERMISSIONS_OR_SETTINGS,
        )
        with map_filesystem_errors(failure, access_hint=hint):
            try:
                return tuple(name for name in os.listdir(self._root) if name.startswith(REPO_PREFIX))
            except FileNotFoundError:
                return ()
            except NotADirectoryError as exc:
                msg = f"The model cache is not a folder: {self._root}"
                raise StorageError(msg, hint=HintCode.CACHE_SETTINGS) from exc

    def repo(self, folder: str) -> CachedRepo:
        """See ``ModelStore.repo``."""
        path = f"{self._root}/{folder}"
        is_link, modified = False, 0.0
        try:
            status = os.lstat(path)
            modified = status.st_mtime
            is_link = stat.S_ISLNK(status.st_mode)
            if is_link:  # the repo may be a link to a folder on another disk
                path = os.path.realpath(path, strict=True)
                status = os.stat(path)
            if not stat.S_ISDIR(status.st_mode):
                return CachedRepo(
                    folder=folder,
                    modified=status.st_mtime,
                    problem="is a file, not a model folder",
                )
            with os.scandir(path) as found:
                parts = {entry.name: entry for entry in found}
        except OSError as exc:
            return CachedRepo(
                folder=folder,
                modified=modified,
                problem=f"model folder cannot be read: {exc.strerror}",
            )
        return self._read_repo(folder, path, parts, status, is_link=is_link)

    def manifest(self, snapshot: CachedSnapshot) -> Mapping[str, RecordedFile] | None:
        """See ``ModelStore.manifest``."""
        repo = snapshot.location.bounds[0]
        try:
            return trees.decode(read_small(f"{repo}/{TREES}/{snapshot.commit}.json"))
        except OSError:
            return None

    def _read_repo(self, folder: str, path: str, parts: _Parts, status: os.stat_result, *, is_link: bool) -> CachedRepo:
        problem = None
        refs: tuple[Ref, ...] = ()
        snapshots: tuple[CachedSnapshot, ...] = ()
        try:
            snapshots = tuple(self._snapshots(path, _listing(parts.get(SNAPSHOTS))))
            refs = tuple(_refs(_listing(parts.get(REFS))))
        except OSError as exc:
            problem = f"{os.path.basename(exc.filename)} cannot be read: {exc.strerror}"
        return CachedRepo(
            folder=folder,
            modified=status.st_mtime,
            refs=refs,
            snapshots=snapshots,
            unfinished=_unfinished(parts.get(BLOBS)),
            problem=problem,
            is_link=is_link,
        )

    def _snapshots(self, repo: str, entries: list[os.DirEntry[str]]) -> Iterator[CachedSnapshot]:
        bounds = (repo, f"{self._root}/{SHARED_STORE}")
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder or not entry.name.startswith("."):
                yield CachedSnapshot(
                    commit=entry.name,
                    location=Location(token=entry.path, bounds=bounds),
                    modified=entry.stat(follow_symlinks=False).st_mtime,
                    problem=None if is_folder else "snapshot is not a folder",
                )


def _listing(part: os.DirEntry[str] | None) -> list[os.DirEntry[str]]:
    """List a folder of the layout; a missing one is empty. Raises OSError, also for a link."""
    if part is None:
        return []
    if part.is_symlink():
        raise OSError(errno.ELOOP, "is a link, not a folder", part.path)
    with os.scandir(part.path) as found:
        return list(found)


def _refs(entries: list[os.DirEntry[str]], prefix: str = "", depth: int = 0) -> Iterator[Ref]:
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            if name == _MAIN:
                yield Ref(
                    name=name,
                    commit=None,
                    modified=entry.stat(follow_symlinks=False).st_mtime,
                )
            if depth < _MAX_REF_DEPTH:
                yield from _refs(_listing(entry), f"{name}/", depth + 1)
        elif not entry.name.startswith("."):
            yield Ref(
                name=name,
                commit=_commit(entry.path),
                modified=entry.stat(follow_symlinks=False).st_mtime,
            )


def _commit(path: str) -> str | None:
    try:
        text = read_small(path, _MAX_REF).strip()
    except OSError:
        return None
    return text.decode("ascii") if _COMMIT.fullmatch(text) else None


def _unfinished(blobs: os.DirEntry[str] | None) -> frozenset[str]:
    try:
        partials = [blob_of_partial(entry.name) for entry in _listing(blobs)]
    except OSError:
        return frozenset()  # the files that need these blobs are reported as damaged
    return frozenset(blob for blob in partials if blob is not None)
