"""Firm ground in the cache: folders that are no links, changes that reach the disk, errors in our words."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlxknife.domain.errors import AccessDenied, StorageError

NO_NAMES = ("", ".", "..")
FULL = (errno.ENOSPC, errno.EDQUOT)
_HINTS = dict.fromkeys(FULL, "Make room, for example with mlxk rm, or mlxk rm --orphans") | {
    errno.ELOOP: "Nothing is changed through links: put the folder itself in its place"
}
MAX_SMALL_FILE = 64 * 1024 * 1024
_CHUNK = 64 * 1024


def real_folder(root: str, *parts: str) -> str:
    """Return a folder below another, having seen that no part of the way is a link. Raises OSError."""
    path = root
    for part in parts:
        path = f"{path}/{part}"
        if part in NO_NAMES or not stat.S_ISDIR(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, f"{part} is a link, not a folder", path)
    return path


def make_folder(root: str, *parts: str) -> str:
    """Return a folder below another, made where it was not there; links on the way are refused. Raises OSError."""
    path = root
    for part in parts:
        path = _made(path, part)
    return path


def _made(path: str, part: str) -> str:
    while True:
        with suppress(FileExistsError):
            os.mkdir(f"{path}/{part}")
        with suppress(FileNotFoundError):  # another process took it away at this very moment: then it is made again
            return real_folder(path, part)


def refuse_link(path: str) -> None:
    """Raise OSError where a link stands in the place of a folder."""
    if os.path.islink(path):
        raise OSError(errno.ELOOP, f"{os.path.basename(path)} is a link, not a folder", path)


def sync(folder: str) -> None:
    """Make sure that the names of a folder outlive a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_small(path: str, limit: int = MAX_SMALL_FILE) -> bytes:
    """Read the beginning of a file; a link in its place is refused and a pipe does not block. Raises OSError."""
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
    """Delete a folder, or a link in its place, without following anything. Raises OSError."""
    if os.path.islink(path) or not os.path.isdir(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.chmod(path, stat.S_IRWXU)  # what is to be deleted needs no protection
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


def unlock(path: str) -> None:
    """Let us into every folder below. Raises OSError."""
    os.chmod(path, stat.S_IRWXU)
    for folder, _ in walk(path, _stop):
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, stat.S_IRWXU)


def walk(path: str, on_error: Callable[[OSError], None]) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder below with the names in it that are no folders; no link is followed, and no depth is too much.

    ``on_error`` hears of folders that cannot be listed.
    """
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            entries = _entries(folder)
        except OSError as exc:
            on_error(exc)
            continue
        yield folder, [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def _stop(exc: OSError) -> None:
    raise exc


def replace(new: str, place: str) -> None:
    """Move a file to its place in one step; a folder that is there goes. Raises OSError."""
    if os.path.isdir(place) and not os.path.islink(place):
        delete(place)
    os.rename(new, place)


@contextmanager
def our_errors(done: str) -> Iterator[None]:
    """Turn what the filesystem says into errors of the contract."""
    try:
        yield
    except PermissionError as exc:
        msg = f"Permission denied: the model could not be {done}"
        raise AccessDenied(msg, hint="Check the permissions of the cache") from exc
    except OSError as exc:
        msg = f"The model could not be {done}: {exc.strerror}"
        raise StorageError(msg, hint=_HINTS.get(exc.errno or 0)) from exc
