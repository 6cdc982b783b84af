"""Locks of the cache, as huggingface_hub takes them: a file for every blob in ``.locks/<repo>``, held by ``flock``."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlxknife.adapters.hfcache import safe_files
from mlxknife.domain.errors import KnifeError, LocksPresent, StorageError
from mlxknife.domain.hints import HintCode
from mlxknife.ports.system.progress import NoProgress, Progress

LOCKS = ".locks"

_OURS = "mlxk.lock"
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o664
"""For the user's group, too, whatever the umask: as huggingface_hub makes them."""
_LOOK_AGAIN = 0.05
_PATIENCE = 2.0
"""How many seconds pass before somebody who waits is told."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class RepoLocks:
    """The locks of one repo."""

    def __init__(self, root: str, folder: str, progress: Progress | None = None) -> None:
        """Take the cache, the folder name of the repo, and who is told when we wait for others."""
        self._progress = progress or NoProgress()
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
    def shared(self, is_given_up: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the repo together with others who take something in; wait for a removal.

        The last holder takes the file along. Raises LocksPresent where it was given up, OSError.
        """
        while True:
            handle = self._open(_OURS)
            is_taken = self._waited(handle, fcntl.LOCK_SH, is_given_up)
            if os.fstat(handle).st_nlink:
                break
            os.close(handle)
        try:
            if not is_taken:
                raise _present([f"{self._label}/{_OURS}"])
            yield
        finally:
            with suppress(OSError, KnifeError):
                if is_taken and take(handle):
                    self._clear_away()
            os.close(handle)

    @contextmanager
    def waited_for(self, name: str, is_given_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Hold the lock of one blob, having waited for whoever has it; tell whether it is held. Raises OSError."""
        handle = self._open(f"{name}.lock")
        try:
            yield self._waited(handle, fcntl.LOCK_EX, is_given_up)
        finally:
            os.close(handle)

    def _waited(self, handle: int, kind: int, is_given_up: Callable[[], bool]) -> bool:
        """Take a lock as soon as nobody is in the way; tell whether it is held."""
        patient_until = time.monotonic() + _PATIENCE
        while not (is_taken := take(handle, kind)) and not is_given_up():
            if time.monotonic() > patient_until:
                self._progress.wait("waiting for another process that works on this model")
                patient_until = math.inf
            time.sleep(_LOOK_AGAIN)
        return is_taken

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
                safe_files.refuse_link(folder)
            with suppress(FileNotFoundError):  # another process of ours just cleared the folder away
                return _opened(f"{self._folder}/{name}")

    def check(self) -> None:
        """Raise LocksPresent when another process holds the lock of a blob. Raises OSError."""
        live = sorted(f"{self._label}/{name}" for name in self._names() if self._is_live(name))
        if live:
            raise _present(live)

    def is_live(self, blob: str) -> bool:
        """Tell whether another process holds the lock of a blob. Raises OSError."""
        return self._is_real() and self._is_live(f"{blob}.lock")

    def is_held(self) -> bool:
        """Tell whether another process of ours takes something in or out. Raises OSError."""
        return self._is_real() and self._is_live(_OURS)

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


def _opened(path: str) -> int:
    """Open a lock, made where it was not there. Raises OSError."""
    try:
        handle = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        return os.open(path, _OPEN)
    with suppress(OSError):
        os.fchmod(handle, _MODE)
    return handle


def take(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file where nobody is in the way; tell whether it is held.

    Raises StorageError on a disk without locks, OSError.
    """
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
        msg = "The disk of the cache knows no file locks, so that nothing in it can be changed safely"
        raise StorageError(msg, hint=HintCode.OTHER_DISK) from exc
    return True


def _present(live: list[str]) -> LocksPresent:
    msg = "Another process is working on this model"
    return LocksPresent(msg, lock_files=tuple(live), hint=HintCode.WAIT_FOR_LOCK)
