"""Locks of the cache, as huggingface_hub takes them: ``.locks/<repo>/<blob>.lock`` under ``flock``, one for each blob.

One more file, ``mlxk.lock``, is the product's lock of the whole repo: pulls share it, a removal holds it alone.
"""

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

_REPO_LOCK = "mlxk.lock"
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o664
"""Writable for the user's group whatever the umask, as huggingface_hub creates them."""
_POLL_INTERVAL = 0.05
_REPORT_AFTER = 2.0
"""Seconds of waiting after which the progress says what it waits for."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def _never() -> bool:
    return False


class RepoLocks:
    """The locks of one repo."""

    def __init__(self, root: str, folder: str, progress: Progress | None = None) -> None:
        """Take the cache, the folder name of the repo, and the progress that reports long waits."""
        self._progress = progress or NoProgress()
        self._folder = f"{root}/{LOCKS}/{folder}"
        self._label = f"{LOCKS}/{folder}"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock of the repo alone, without waiting; its file is removed at the end.

        Raises LocksPresent while another process holds it, OSError.
        """
        handle = self._open(_REPO_LOCK)
        while (is_taken := try_lock(handle)) and not os.fstat(handle).st_nlink:
            os.close(handle)  # its last holder removed the file: the lock is now another file at that path
            handle = self._open(_REPO_LOCK)
        try:
            if not is_taken:
                raise _locks_present([f"{self._label}/{_REPO_LOCK}"])
            yield
        finally:
            with suppress(OSError):
                if is_taken:
                    self._remove_repo_lock()
            os.close(handle)

    @contextmanager
    def shared(self, is_cancelled: Callable[[], bool] = _never) -> Iterator[None]:
        """Hold the lock of the repo together with other pulls, having waited for a removal to end.

        The last holder removes the file. Raises LocksPresent when ``is_cancelled`` ended the wait, OSError.
        """
        while True:
            handle = self._open(_REPO_LOCK)
            is_taken = self._wait_for_lock(handle, fcntl.LOCK_SH, is_cancelled)
            if os.fstat(handle).st_nlink:
                break
            os.close(handle)
        try:
            if not is_taken:
                raise _locks_present([f"{self._label}/{_REPO_LOCK}"])
            yield
        finally:
            with suppress(OSError, KnifeError):
                if is_taken and try_lock(handle):
                    self._remove_repo_lock()
            os.close(handle)

    def _remove_repo_lock(self) -> None:
        os.unlink(f"{self._folder}/{_REPO_LOCK}")
        os.rmdir(self._folder)
        os.rmdir(os.path.dirname(self._folder))

    @contextmanager
    def wait_for(self, name: str, is_cancelled: Callable[[], bool] = _never) -> Iterator[bool]:
        """Hold the lock of one blob, having waited for its holder; give whether it is held. Raises OSError."""
        handle = self._open(f"{name}.lock")
        try:
            yield self._wait_for_lock(handle, fcntl.LOCK_EX, is_cancelled)
        finally:
            os.close(handle)

    def _wait_for_lock(self, handle: int, kind: int, is_cancelled: Callable[[], bool]) -> bool:
        """Poll a lock until it is taken or the wait is cancelled; return whether it is held."""
        report_at = time.monotonic() + _REPORT_AFTER
        while not (is_taken := try_lock(handle, kind)) and not is_cancelled():
            if time.monotonic() > report_at:
                self._progress.wait("waiting for another process that works on this model")
                report_at = math.inf
            time.sleep(_POLL_INTERVAL)
        return is_taken

    @contextmanager
    def try_blob(self, name: str) -> Iterator[bool]:
        """Hold the lock of one blob if it is free, without waiting; give whether it is held. Raises OSError.

        The file stays, as huggingface_hub leaves it: not every release of its lock library notices a removed file.
        """
        try:
            handle = self._open(f"{name}.lock")
        except OSError:  # the path is no file, so that no process can hold this lock
            yield False
            return
        try:
            yield try_lock(handle)
        finally:
            os.close(handle)

    def _open(self, name: str) -> int:
        while True:
            for folder in (os.path.dirname(self._folder), self._folder):
                with suppress(FileExistsError):
                    os.mkdir(folder)
                safe_files.refuse_link(folder)
            with suppress(FileNotFoundError):  # another process of ours just removed the folder
                return _open_lock(f"{self._folder}/{name}")

    def check_blobs(self) -> None:
        """Raise LocksPresent when another process holds the lock of a blob. Raises OSError."""
        held = sorted(f"{self._label}/{name}" for name in self._blob_locks() if self._is_held(name))
        if held:
            raise _locks_present(held)

    def is_blob_locked(self, blob: str) -> bool:
        """Return whether another process holds the lock of a blob. Raises OSError."""
        return self._is_real() and self._is_held(f"{blob}.lock")

    def is_repo_locked(self) -> bool:
        """Return whether a pull or a removal of the product holds the lock of the repo. Raises OSError."""
        return self._is_real() and self._is_held(_REPO_LOCK)

    def _is_real(self) -> bool:
        return os.path.realpath(self._folder) == self._folder

    def _blob_locks(self) -> list[str]:
        try:
            if not self._is_real():
                return []
            return [name for name in os.listdir(self._folder) if name.endswith(".lock") and name != _REPO_LOCK]
        except FileNotFoundError:
            return []

    def _is_held(self, name: str) -> bool:
        try:
            handle = os.open(f"{self._folder}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False  # what cannot be opened is no lock file
        try:
            return not try_lock(handle)
        finally:
            os.close(handle)


def _open_lock(path: str) -> int:
    """Open a lock file, creating it where it is missing. Raises OSError."""
    try:
        handle = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        return os.open(path, _OPEN)
    with suppress(OSError):
        os.fchmod(handle, _MODE)
    return handle


def try_lock(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the ``flock`` of an open file without waiting; return whether it is held.

    Raises StorageError on a disk without locks, OSError.
    """
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
        msg = "The disk of the cache has no file locks, so that nothing in it can be changed safely"
        raise StorageError(msg, hint=HintCode.OTHER_DISK) from exc
    return True


def _locks_present(held: list[str]) -> LocksPresent:
    msg = "Another process is working on this model"
    return LocksPresent(msg, lock_files=tuple(held), hint=HintCode.WAIT_FOR_LOCK)
