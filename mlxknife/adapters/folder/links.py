"""Following names to bytes without leaving the places a model may use."""

from __future__ import annotations

import errno
import os
import stat

import attrs

from mlxknife.domain.models.values.snapshot import FileState, Location

_MAX_HOPS = 40
_NO_NAMES = ("", ".", "..")


@attrs.frozen
class Found:
    """Where a name led: ``status`` is there when something stands at the end of it."""

    state: FileState
    path: str
    status: os.stat_result | None = None
    blob: str | None = None
    """The name that the first link leads to, unless that is outside of the first bound, as in the shared store."""


class LinkFollower:
    """Resolves the names of one location; remembers which folders are real and allowed."""

    def __init__(self, location: Location) -> None:
        """Start from the places that the store has resolved already."""
        self._token = location.token
        self._bounds = location.bounds
        self._real_folders = {folder: folder for folder in (location.token, *location.bounds)}
        self._jumps: dict[tuple[str, str], str | None] = {}

    def find(self, name: str) -> Found:
        """Return what a name below the location, with ``/`` in it or not, leads to."""
        head, _, last = name.rpartition("/")
        folder = self._allowed(self._token, head)
        path = f"{self._token}/{name}"
        return Found(FileState.ESCAPING, path) if folder is None else self.follow(folder, last)

    def follow(self, folder: str, name: str, *, is_link: bool = False) -> Found:
        """Return what a name in a real folder of the location leads to; ``is_link`` saves the first look."""
        blob = None
        for hops in range(_MAX_HOPS):
            path = f"{folder}/{name}"
            try:
                if not is_link:
                    status = os.lstat(path)
                    if not stat.S_ISLNK(status.st_mode):
                        state = FileState.OK if stat.S_ISREG(status.st_mode) else FileState.IRREGULAR
                        return Found(state, path, status, blob)
                is_link = False
                head, _, name = os.readlink(path).rpartition("/")
            except OSError as exc:
                return Found(state_of(exc), path, blob=blob)
            jump = (folder, head)
            if jump not in self._jumps:
                self._jumps[jump] = self._allowed(folder, head)
            target = self._jumps[jump]
            if hops == 0 and target is not None and _is_below(target, self._bounds[0]):
                blob = name
            if target is None or name in _NO_NAMES:
                return Found(FileState.ESCAPING, path, blob=blob)
            folder = target
        return Found(FileState.LOOP, path, blob=blob)

    def _allowed(self, folder: str, head: str) -> str | None:
        """Return the real folder that a link in a real folder points into, or None when it is out of bounds."""
        while head == ".." or head.startswith("../"):  # what lies above a real folder is real
            folder, head = os.path.dirname(folder), head[3:]
        real = self._real(os.path.join(folder, head) if head else folder)
        return real if any(_is_below(real, bound) for bound in self._bounds) else None

    def _real(self, folder: str) -> str:
        if folder not in self._real_folders:
            parent, name = os.path.split(folder)
            one_step = parent in self._real_folders and name not in _NO_NAMES
            self._real_folders[folder] = folder if one_step and not os.path.islink(folder) else os.path.realpath(folder)
        return self._real_folders[folder]


def _is_below(folder: str, bound: str) -> bool:
    return folder == bound or folder.startswith(f"{bound}/")


def state_of(exc: OSError) -> FileState:
    """Return the state that an error while following a name stands for."""
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileState.DANGLING
    if exc.errno == errno.ELOOP:
        return FileState.LOOP
    return FileState.UNREADABLE
