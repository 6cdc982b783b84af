"""Safe filesystem access in the cache: no link is followed, changes reach the disk, errors are those of the tree."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

from mlxknife.domain.filesystem_errors import map_filesystem_errors
from mlxknife.domain.hints import HintCode

NOT_NAMES = ("", ".", "..")
"""Parts of a path that name no entry of a folder."""
MAX_SMALL_FILE = 64 * 1024 * 1024
_CHUNK = 64 * 1024


def map_cache_errors(failed: str) -> AbstractContextManager[None]:
    """Map file errors of a block: the model could not be ``failed``. Raises StorageError, AccessDenied."""
    return map_filesystem_errors(f"The model could not be {failed}", access_hint=HintCode.CACHE_PERMISSIONS)


def real_folder(root: str, *parts: str) -> str:
    """Return a folder below ``root`` after checking that no part of the path is a link. Raises OSError."""
    path = root
    for part in parts:
        path = f"{path}/{part}"
        if part in NOT_NAMES or not stat.S_ISDIR(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, f"{part} is a link, not a folder", path)
    return path


def make_folder(root: str, *parts: str) -> str:
    """Return a folder below ``root``, created where it is missing; a link in the path is refused. Raises OSError."""
    path = root
    for part in parts:
        path = _made(path, part)
    return path


def _made(path: str, part: str) -> str:
    while True:
        with suppress(FileExistsError):
            os.mkdir(f"{path}/{part}")
        with suppress(FileNotFoundError):  # another process removed it between the two calls: create it again
            return real_folder(path, part)


def refuse_link(path: str) -> None:
    """Raise OSError (ELOOP) where a path is a link."""
    if os.path.islink(path):
        raise OSError(errno.ELOOP, f"{os.path.basename(path)} is a link, not a folder", path)


def sync(folder: str) -> None:
    """Flush the entries of a folder to the disk, so that they survive a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_small(path: str, limit: int = MAX_SMALL_FILE) -> bytes:
    """Return the first ``limit`` bytes of a file; a link is refused and a pipe does not block. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    chunks: list[bytes] = []
    try:
        while limit > 0 and (chunk := os.read(handle, min(limit, _CHUNK))):
            chunks.append(chunk)
            limit -= len(chunk)
    finally:
        os.close(handle)
    return b"".join(chunks)


def delete(path: str) -> None:
    """Delete a folder, a file or a link, without following links. A missing path is no error. Raises OSError."""
    if os.path.islink(path) or not os.path.isdir(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.chmod(path, stat.S_IRWXU)  # a folder that is being deleted needs no protection
    while entries := _entries(path):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, stat.S_IRWXU)
            for inner in _entries(entry.path):
                if inner.is_dir(follow_symlinks=False):  # it moves up: no path is ever longer than two names
                    os.chmod(inner.path, stat.S_IRWXU)
                    os.rename(inner.path, f"{path}/{os.urandom(8).hex()}")
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)
    os.rmdir(path)


def make_readable(path: str) -> None:
    """Give this user access to a folder and to every folder below it. Raises OSError."""
    os.chmod(path, stat.S_IRWXU)
    for folder, _ in walk(path, _raise):
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, stat.S_IRWXU)


def walk(path: str, on_error: Callable[[OSError], None]) -> Iterator[tuple[str, list[str]]]:
    """Yield ``path`` and every folder below it, each with its entries that are no folders, at any depth.

    Links are not followed. ``on_error`` is called for a folder that cannot be listed, and what it raises is raised.
    """
    pending = [path]
    while pending:
        folder = pending.pop()
        try:
            entries = _entries(folder)
        except OSError as exc:
            on_error(exc)
            continue
        yield folder, [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def _raise(exc: OSError) -> None:
    raise exc


def replace(new: str, path: str) -> None:
    """Move the file ``new`` to ``path`` in one step; a folder at ``path`` is deleted first. Raises OSError."""
    if os.path.isdir(path) and not os.path.islink(path):
        delete(path)
    os.rename(new, path)
