"""Making workspaces: in a hidden folder of the workspace home, then one rename. Fulfils ``ports.workshop``."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlxknife.adapters.workspaces import sentinel
from mlxknife.adapters.workspaces.folders import SENTINEL
from mlxknife.domain.errors import AccessDenied, StorageError, ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.workspaces.values import Origin

_MAKING = ".mlxk-making-"
_MAX_NAME = 255
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class LocalWorkspaceBuilder:
    """Makes workspaces on this machine."""

    def __init__(self, home: str, now: Callable[[], float] = time.time) -> None:
        """Take the workspace home, which need not exist, and the clock."""
        self._home = os.path.realpath(os.path.expanduser(home))
        self._now = now

    @contextmanager
    def making(self, name: str, origin: Origin) -> Iterator[str]:
        """See ``WorkspaceBuilder.making``."""
        place = os.path.join(self._home, name)
        self._check(name, place)
        with self.scratch() as folder:
            made = os.path.join(folder, "made")
            with _our_errors("made"):
                os.mkdir(made)
            yield made
            with _our_errors("made"):
                with open(os.path.join(made, SENTINEL), "xb") as file:
                    file.write(sentinel.encode(made, origin, self._now()))
                _sync(made)
                self._check(name, place)
                _become(made, place, name)

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """See ``WorkspaceBuilder.scratch``."""
        with _our_errors("made"):
            os.makedirs(self._home, exist_ok=True)
            self._sweep()
            folder, hold = self._held()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(hold)

    def _check(self, name: str, place: str) -> None:
        if name in ("", ".", "..") or name.startswith(".") or not name.isprintable() or "/" in name:
            msg = f"No workspace can be called {name!a}"
            raise ValidationError(msg, hint=HintCode.WORKSPACE_NAME_FORM)
        if len(os.fsencode(name)) > _MAX_NAME:
            msg = f"The name of a workspace has {_MAX_NAME} bytes at most"
            raise ValidationError(msg)
        if os.path.lexists(place):
            raise _taken(name)

    def _held(self) -> tuple[str, int]:
        """Make a hidden folder that nobody sweeps away while it is held. Raises OSError."""
        while True:
            folder = os.path.join(self._home, f"{_MAKING}{os.urandom(8).hex()}")
            os.mkdir(folder, 0o700)
            hold = _lock(folder)
            if hold is not None and os.path.lexists(folder):  # a sweep may have come before the lock
                return folder, hold

    def _sweep(self) -> None:
        """Remove what somebody left who was killed: the lock on a folder dies with its holder."""
        for name in os.listdir(self._home):
            folder = os.path.join(self._home, name)
            if name.startswith(_MAKING) and (hold := _lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(hold)


def _lock(folder: str) -> int | None:
    """Lock a folder and return what holds it; None where somebody else does, or it is no folder."""
    with suppress(OSError):
        hold = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(hold)
        else:
            return hold
    return None


def _become(made: str, place: str, name: str) -> None:
    """Move a folder to its place. Raises ValidationError when something is there, OSError."""
    try:
        os.rename(made, place)
    except OSError as exc:
        if exc.errno in _TAKEN:
            raise _taken(name) from exc
        raise
    _sync_one(os.path.dirname(place))


def _taken(name: str) -> ValidationError:
    msg = f"There is something called '{name}' among the workspaces already"
    return ValidationError(msg, hint=Hint(HintCode.RENAME_OR_REMOVE, name=name))


def _sync(folder: str) -> None:
    """Make sure that all below a folder outlives a power cut. Raises OSError."""
    for place, _, names in os.walk(folder):
        for path in (*(os.path.join(place, name) for name in names), place):
            _sync_one(path)


def _sync_one(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _our_errors(done: str) -> Iterator[None]:
    """Turn what the filesystem says into errors of the contract."""
    try:
        yield
    except PermissionError as exc:
        msg = f"Permission denied: the workspace could not be {done}"
        raise AccessDenied(msg, hint=HintCode.WORKSPACE_PERMISSIONS) from exc
    except OSError as exc:
        msg = f"The workspace could not be {done}: {exc.strerror}"
        raise StorageError(msg) from exc
