"""The private folder of model processes: temporary files, and the kernels that MLX compiles.

MLX loads ``$TMPDIR/mlx/<version>/cpu/lib*.so`` and does not ask who wrote it. In a shared folder such as ``/tmp``, any
user of the machine could put code there. So a model process gets a folder to which only its user can write.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import stat
import struct
import tempfile
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from glob import iglob

from mlxknife.adapters.system.environment import cache_folder
from mlxknife.domain.errors import AccessDenied, StorageError
from mlxknife.domain.filesystem_errors import filesystem_error
from mlxknife.domain.hints import Hint, HintCode

_KERNELS = "mlx"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ELF = struct.Struct("<4sB35xQ10xHH2x")
"""The magic number, the class, and the place, size and number of the section headers, which a linker writes last."""
_ELF_64 = 2


class PrivateFolder:
    """The folder of this process. It is kept for later processes if the user's cache folder can hold it."""

    def __init__(self, environment: Mapping[str, str], named: str | None) -> None:
        """Take the environment variables, and the folder that the user named."""
        self._named = named
        name = f"temp-{os.uname().machine}"  # homes are shared by machines that cannot run each other's kernels
        self._kept = os.path.abspath(os.path.join(self._named or cache_folder(environment), name))
        self._temporary = environment.get("TMPDIR") or None
        self._lock = threading.Lock()
        self._path: str | None = None

    def path(self) -> str:
        """Return the folder; the first call opens it.

        Raises AccessDenied for a folder that is a link, belongs to another user or can be written by others,
        StorageError if none can be made.
        """
        with self._lock:
            if self._path is None:
                self._path = self._opened()
            return self._path

    def _opened(self) -> str:
        try:
            path, descriptor = _kept_folder(self._kept)
        except OSError as exc:
            if self._named is not None:
                raise _error(exc, self._kept) from exc
            return self._made_for_now()
        weakref.finalize(self, os.close, descriptor)  # its lock marks the folder as in use for other processes
        return path

    def _made_for_now(self) -> str:
        """Return a new folder that goes away with this process: the user's cache folder cannot be used."""
        try:
            parent = os.path.realpath(self._temporary or tempfile.gettempdir())
            if _can_be_swapped(os.stat(parent)):
                raise PermissionError(errno.EPERM, "other users can replace what is in it")
            path = tempfile.mkdtemp(prefix="mlxk-", dir=parent)
        except OSError as exc:
            raise _error(exc, self._temporary or "the system's folder for temporary files") from exc
        atexit.register(_remove, path, os.getpid())
        return path


def _error(exc: OSError, path: str) -> StorageError:
    error = filesystem_error(exc, f"The folder for temporary files cannot be used: {path}")
    error.hint = error.hint or Hint(HintCode.PRIVATE_FOLDER)
    return error


def _kept_folder(path: str) -> tuple[str, int]:
    """Return a folder that outlives this process, and an open descriptor of it. It is created if it is missing.

    Raises OSError if it cannot be used, AccessDenied if it is not private.
    """
    parent, name = os.path.split(path)
    _make_private(parent)
    parent = os.path.realpath(parent)
    _check_parents(parent)
    path = f"{parent}/{name}"
    _make_private(path)
    try:
        descriptor = os.open(path, _OPEN)
    except NotADirectoryError as exc:  # Linux and macOS also say so of a link
        raise _refusal(path, "it is not a folder" if not os.path.islink(path) else "it is a link") from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise _refusal(path, "it is a link") from exc
        raise
    try:
        _check_private(path, os.fstat(descriptor))
        os.fchmod(descriptor, 0o700)
        _check_writable(path)
        with suppress(OSError):  # some network filesystems have no locks
            _clean(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return path, descriptor


def _make_private(path: str) -> None:
    """Create a folder and those on the way to it, as far as they are missing, for this user only."""
    if not os.path.lexists(path):
        _make_private(os.path.dirname(path))
        with suppress(FileExistsError):
            os.mkdir(path, mode=0o700)


def _check_parents(parent: str) -> None:
    """Raise PermissionError if another user could replace a folder on the way to the private one."""
    folder = parent
    while True:
        status = os.lstat(folder)
        if status.st_uid not in (0, os.geteuid()) or _can_be_swapped(status):
            raise PermissionError(errno.EPERM, f"other users can replace folders in {folder}")
        if folder == os.path.dirname(folder):
            return
        folder = os.path.dirname(folder)


def _can_be_swapped(status: os.stat_result) -> bool:
    """Return whether other users can rename the entries of a folder. In a sticky folder, only their owners can."""
    writers = status.st_mode & _OTHERS_WRITE
    if writers == stat.S_IWGRP and status.st_gid == os.getegid() == os.geteuid():
        return False  # the private group of a user has the number of the user
    return bool(writers) and not status.st_mode & stat.S_ISVTX


def _check_private(path: str, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise _refusal(path, "it belongs to another user")
    if status.st_mode & _OTHERS_WRITE:
        raise _refusal(path, "other users can write to it")


def _check_writable(path: str) -> None:
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _refusal(path: str, reason: str) -> AccessDenied:
    return AccessDenied(
        f"The folder for temporary files is not private: {path}: {reason}", hint=HintCode.PRIVATE_FOLDER
    )


def _clean(path: str, descriptor: int) -> None:
    """Remove what killed processes left, if no other process uses the folder. Raises OSError.

    It ends with a shared lock on the descriptor.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return
    for name in os.listdir(path):
        if name != _KERNELS:
            _delete(f"{path}/{name}")
    for kernel in iglob(f"{path}/{_KERNELS}/*/*/lib*.so"):
        if not _is_whole(kernel):  # MLX would fail on it forever
            os.unlink(kernel)
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def _is_whole(library: str) -> bool:
    """Return whether the linker has written a library to its end. Only ELF files are checked."""
    with open(library, "rb") as file:
        start, size = file.read(_ELF.size), os.fstat(file.fileno()).st_size
    if len(start) < _ELF.size:
        return False
    magic, kind, headers, header_size, count = _ELF.unpack(start)
    if magic != b"\x7fELF" or kind != _ELF_64:
        return bool(start.strip(b"\0"))
    return bool(0 < headers <= size - header_size * count)


def _delete(path: str) -> None:
    import shutil  # noqa: PLC0415 - leftovers are rare

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _remove(path: str, owner: int) -> None:
    """Remove a folder at the exit of the process that made it, and not at that of a fork."""
    if os.getpid() == owner:
        with suppress(OSError):
            _delete(path)
