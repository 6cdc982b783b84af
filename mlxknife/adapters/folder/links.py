"""Resolving the links of a model without leaving the folders that the model may use."""

from __future__ import annotations

import errno
import os
import stat

import attrs

from mlxknife.domain.models.values.snapshot import FileState, Location

_MAX_HOPS = 40
_NOT_NAMES = ("", ".", "..")


@attrs.frozen
class ResolvedFile:
    """What a name resolves to. ``status`` is None where the name leads to nothing."""

    state: FileState
    path: str
    status: os.stat_result | None = None
    blob: str | None = None
    """The name of the first link's target, unless that is outside of the first bound, as in the shared store."""


class LinkResolver:
    """Resolves the names of one location. It caches which folders are real and inside the bounds."""

    def __init__(self, location: Location) -> None:
        """Take the location; its folder and bounds are resolved paths."""
        self._token = location.token
        self._bounds = location.bounds
        self._real_folders = {folder: folder for folder in (location.token, *location.bounds)}
        self._link_folders: dict[tuple[str, str], str | None] = {}

    def resolve(self, name: str) -> ResolvedFile:
        """Return what a relative path below the location resolves to. Raises nothing."""
        head, _, last = name.rpartition("/")
        folder = self._allowed(self._token, head)
        path = f"{self._token}/{name}"
        return ResolvedFile(FileState.ESCAPING, path) if folder is None else self.resolve_in(folder, last)

    def resolve_in(self, folder: str, name: str, *, is_link: bool = False) -> ResolvedFile:
        """Return what a name in a real folder resolves to; ``is_link`` saves one lstat. Raises nothing."""
        blob = None
        for hops in range(_MAX_HOPS):
            path = f"{folder}/{name}"
            try:
                if not is_link:
                    status = os.lstat(path)
                    if not stat.S_ISLNK(status.st_mode):
                        state = FileState.OK if stat.S_ISREG(status.st_mode) else FileState.IRREGULAR
                        return ResolvedFile(state, path, status, blob)
                is_link = False
                head, _, name = os.readlink(path).rpartition("/")
            except OSError as exc:
                return ResolvedFile(state_of(exc), path, blob=blob)
            link_folder = (folder, head)
            if link_folder not in self._link_folders:
                self._link_folders[link_folder] = self._allowed(folder, head)
            target = self._link_folders[link_folder]
            if hops == 0 and target is not None and _is_below(target, self._bounds[0]):
                blob = name
            if target is None or name in _NOT_NAMES:
                return ResolvedFile(FileState.ESCAPING, path, blob=blob)
            folder = target
        return ResolvedFile(FileState.LOOP, path, blob=blob)

    def _allowed(self, folder: str, head: str) -> str | None:
        """Return the real folder that a link in ``folder`` points into, or None where that is out of bounds."""
        while head == ".." or head.startswith("../"):  # the parent of a real folder is real
            folder, head = os.path.dirname(folder), head[3:]
        real = self._real(os.path.join(folder, head) if head else folder)
        return real if any(_is_below(real, bound) for bound in self._bounds) else None

    def _real(self, folder: str) -> str:
        if folder not in self._real_folders:
            parent, name = os.path.split(folder)
            is_one_step = parent in self._real_folders and name not in _NOT_NAMES
            self._real_folders[folder] = (
                folder if is_one_step and not os.path.islink(folder) else os.path.realpath(folder)
            )
        return self._real_folders[folder]


def _is_below(folder: str, bound: str) -> bool:
    return folder == bound or folder.startswith(f"{bound}/")


def state_of(exc: OSError) -> FileState:
    """Return the file state for an error of a file operation."""
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileState.DANGLING
    if exc.errno == errno.ELOOP:
        return FileState.LOOP
    return FileState.UNREADABLE
