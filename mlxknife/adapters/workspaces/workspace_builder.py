"""Creating workspaces: in a hidden folder of the workspace home, which is then renamed to its place."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from mlxknife.adapters.workspaces import sentinel
from mlxknife.adapters.workspaces.workspaces import SENTINEL
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.filesystem_errors import map_filesystem_errors
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.workspaces.values import Origin

_SCRATCH = ".mlxk-making-"
"""The prefix of folders in use; one that no process has locked is left from a killed process."""
_MAX_NAME = 255
_NOT_FREE = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class LocalWorkspaceBuilder:
    """Creates workspaces on this machine. Implements ``WorkspaceBuilder``."""

    def __init__(self, home: str, now: Callable[[], float] = time.time) -> None:
        """Take the workspace home, which may not exist yet, and the clock."""
        self._home = os.path.realpath(os.path.expanduser(home))
        self._now = now

    @contextmanager
    def create(self, name: str, origin: Origin) -> Iterator[str]:
        """See ``WorkspaceBuilder.create``."""
        path = os.path.join(self._home, name)
        _check_name(name, path)
        with self.scratch() as folder:
            new = os.path.join(folder, "new")
            with _map_errors():
                os.mkdir(new)
            yield new
            with _map_errors():
                with open(os.path.join(new, SENTINEL), "xb") as file:
                    file.write(sentinel.encode(new, origin, self._now()))
                _sync_tree(new)
                _check_name(name, path)
                _rename_to_free(new, path, name)

    def adopt(self, name: str, origin: Origin, folder: str) -> None:
        """See ``WorkspaceBuilder.adopt``."""
        with self.create(name, origin) as new, _map_errors():
            for entry in os.listdir(folder):
                os.rename(os.path.join(folder, entry), os.path.join(new, entry))

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """See ``WorkspaceBuilder.scratch``."""
        with _map_errors():
            os.makedirs(self._home, exist_ok=True)
            self._delete_leftovers()
            folder, lock = self._locked_folder()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def _locked_folder(self) -> tuple[str, int]:
        """Create a hidden folder and lock it, so that no other process deletes it; return it with its lock.

        Raises OSError.
        """
        while True:
            folder = os.path.join(self._home, f"{_SCRATCH}{os.urandom(8).hex()}")
            os.mkdir(folder, 0o700)
            lock = _try_lock(folder)
            if lock is not None and os.path.lexists(folder):  # another process may delete it before it is locked
                return folder, lock

    def _delete_leftovers(self) -> None:
        """Delete the folders of killed processes: the lock of a folder ends with its process. Raises OSError."""
        for name in os.listdir(self._home):
            folder = os.path.join(self._home, name)
            if name.startswith(_SCRATCH) and (lock := _try_lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _check_name(name: str, path: str) -> None:
    """Raise ValidationError for a name that is not valid, or whose path is taken."""
    if name in ("", ".", "..") or name.startswith(".") or not name.isprintable() or "/" in name:
        msg = f"No workspace can be called {name!a}"
        raise ValidationError(msg, hint=HintCode.WORKSPACE_NAME_FORM)
    if len(os.fsencode(name)) > _MAX_NAME:
        msg = f"The name of a workspace has {_MAX_NAME} bytes at most"
        raise ValidationError(msg)
    if os.path.lexists(path):
        raise _taken(name)


def _try_lock(folder: str) -> int | None:
    """Lock a folder and return its descriptor; None where it is locked, or is no folder."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
        else:
            return handle
    return None


def _rename_to_free(new: str, path: str, name: str) -> None:
    """Rename a folder to ``path``. Raises ValidationError when something is there, OSError."""
    try:
        os.rename(new, path)
    except OSError as exc:
        if exc.errno in _NOT_FREE:
            raise _taken(name) from exc
        raise
    _sync(os.path.dirname(path))


def _taken(name: str) -> ValidationError:
    msg = f"The workspace home already contains '{name}'"
    return ValidationError(msg, hint=Hint(HintCode.RENAME_OR_REMOVE, name=name))


def _sync_tree(folder: str) -> None:
    """Flush a folder and everything below it to the disk, so that it survives a power cut. Raises OSError."""
    for parent, _, names in os.walk(folder):
        for path in (*(os.path.join(parent, name) for name in names), parent):
            _sync(path)


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _map_errors() -> AbstractContextManager[None]:
    return map_filesystem_errors("The workspace could not be created", access_hint=HintCode.WORKSPACE_PERMISSIONS)
