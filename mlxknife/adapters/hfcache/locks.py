"""Locks of the cache, as huggingface_hub takes them: a file for every blob in ``.locks/<repo>``, held by ``flock``."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlxknife.domain.errors import LocksPresent

LOCKS = ".locks"

_OURS = "mlxk.lock"
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o644
_LOOK_AGAIN = 0.05


class RepoLocks:
    """The locks of one repo."""

    def __init__(self, root: str, folder: str) -> None:
        """Take the cache and the folder name of the repo."""
        self._folder = f"{root}/{LOCKS}/{folder}"
        self._label = f"{LOCKS}/{folder}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the repo against other processes of ours, leaving no file behind. Raises LocksPresent, OSError."""
        handle = self._open(_OURS)
        while (is_taken := take(handle)) and not os.fstat(handle).st_nlink:
            os.close(handle)  # its last holder took the file along: the lock is at that path again, not here
            handle = self._open(_OURS)
        try:
            if not is_taken:
                raise _present([f"{self._label}/{_OURS}"])
            yield
        finally:
            with suppress(OSError):
                if is_taken:
                    self._clear_away()
            os.close(handle)

    def _clear_away(self) -> None:
        os.unlink(f"{self._folder}/{_OURS}")
        os.rmdir(self._folder)
        os.rmdir(os.path.dirname(self._folder))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the repo together with others who take something in; wait for a removal. Raises OSError.

        The last holder takes the file along.
        """
        while True:
            handle = self._open(_OURS)
            while not take(handle, fcntl.LOCK_SH):
                time.sleep(_LOOK_AGAIN)
            if os.fstat(handle).st_nlink:
                break
            os.close(handle)
        try:
            yield
        finally:
            with suppress(OSError):
                if take(handle):
                    self._clear_away()
            os.close(handle)

    @contextmanager
    def waited_for(self, name: str, is_given_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Hold the lock of one blob, having waited for whoever has it; tell whether it is held. Raises OSError."""
        handle = self._open(f"{name}.lock")
        try:
            while not (is_taken := take(handle)) and not is_given_up():
                time.sleep(_LOOK_AGAIN)
            yield is_taken
        finally:
            os.close(handle)

    @contextmanager
    def blob(self, name: str) -> Iterator[bool]:
        """Hold the lock of one blob, where nobody else does; tell whether it is held. Raises OSError.

        The file stays, as huggingface_hub leaves it: not every release of its lock library notices one that is gone.
        """
        try:
            handle = self._open(f"{name}.lock")
        except OSError:  # in the place of the lock is something else: nobody can hold it, we neither
            yield False
            return
        try:
            yield take(handle)
        finally:
            os.close(handle)

    def _open(self, name: str) -> int:
        while True:
            for folder in (os.path.dirname(self._folder), self._folder):
                with suppress(FileExistsError):
                    os.mkdir(folder)
                if os.path.islink(folder):
                    raise OSError(errno.ELOOP, "is a link, not a folder", folder)
            with suppress(FileNotFoundError):  # another process of ours just cleared the folder away
                return os.open(f"{self._folder}/{name}", _OPEN, _MODE)

    def check(self) -> None:
        """Raise LocksPresent when another process holds the lock of a blob. Raises OSError."""
        live = sorted(f"{self._label}/{name}" for name in self._names() if self._is_live(name))
        if live:
            raise _present(live)

    def _is_real(self) -> bool:
        return os.path.realpath(self._folder) == self._folder

    def _names(self) -> list[str]:
        try:
            if not self._is_real():
                return []
            return [name for name in os.listdir(self._folder) if name.endswith(".lock") and name != _OURS]
        except FileNotFoundError:
            return []

    def _is_live(self, name: str) -> bool:
        try:
            handle = os.open(f"{self._folder}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False  # what cannot be opened is no lock of anybody
        try:
            return not take(handle)
        finally:
            os.close(handle)


def take(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file where nobody is in the way; tell whether it is held. Raises OSError."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _present(live: list[str]) -> LocksPresent:
    msg = "Another process is working on this model"
    return LocksPresent(msg, lock_files=tuple(live), hint="Wait until it is done; a live lock is never overridden")
