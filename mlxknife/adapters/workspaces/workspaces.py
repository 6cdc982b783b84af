"""Finding, measuring and removing workspaces: folders of the workspace home, and any folder that a path names."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager

from mlxknife.domain.errors import ModelNotFound, StorageError, ValidationError
from mlxknife.domain.filesystem_errors import map_filesystem_errors
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.stored_models import Workspace

SENTINEL = ".mlxk_workspace.json"

_CONFIG = "config.json"
_MODEL_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".npz")
_REMOVED = ".mlxk-removed-"
"""The prefix of a workspace that is being deleted."""
_MAX_SENTINEL = 64 * 1024


class LocalWorkspaces:
    """Workspaces on this machine. Implements ``Workspaces``."""

    def __init__(self, home: str) -> None:
        """Take the workspace home, which may not exist yet."""
        self._home = os.path.realpath(os.path.expanduser(home))

    def at_home(self) -> tuple[Workspace, ...]:
        """See ``Workspaces.at_home``."""
        with _map_errors(f"The workspace home {self._home} cannot be read"):
            try:
                with os.scandir(self._home) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except FileNotFoundError:
                return ()
        return tuple(self._workspaces(entries))

    def at_path(self, path: str) -> Workspace:
        """See ``Workspaces.at_path``."""
        try:
            with _map_errors(f"The folder {path} cannot be read"):
                full = os.path.abspath(os.path.expanduser(path))
                modified = _modified_folder(full, path)
        except ValueError as exc:  # a NUL, or a lone surrogate
            msg = f"Not a path: {path!a}"
            raise ValidationError(msg) from exc
        return self._workspace(full, modified)

    def size_bytes(self, path: str) -> int:
        """See ``Workspaces.size_bytes``."""
        total = 0
        for folder, _, names in os.walk(path):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(f"{folder}/{name}").st_size
        return total

    def discard(self, path: str) -> None:
        """See ``Workspaces.discard``."""
        import shutil  # noqa: PLC0415 - most commands delete nothing

        with _map_errors(f"The workspace {path} cannot be removed"):
            if os.path.islink(path):
                os.unlink(path)
                return
            removed = f"{os.path.dirname(path)}/{_REMOVED}{os.urandom(4).hex()}"
            os.rename(path, removed)
            try:
                shutil.rmtree(removed)
            except OSError:
                os.rename(removed, path)  # the remaining files stay visible under the old name
                raise

    def holds_model(self, path: str) -> bool:
        """See ``Workspaces.holds_model``."""
        return os.path.isfile(os.path.join(path, _CONFIG))

    def _workspaces(self, entries: list[os.DirEntry[str]]) -> Iterator[Workspace]:
        for entry in entries:
            if entry.name.startswith(".") or not _is_folder(entry):
                continue
            try:
                names = os.listdir(entry.path)
            except OSError:
                names = [_CONFIG]  # it may be a model, so it is listed, with the reason why it cannot be read
            if SENTINEL in names or _CONFIG in names or any(name.endswith(_MODEL_SUFFIXES) for name in names):
                yield self._workspace(entry.path, _modified(entry.path))

    def _workspace(self, path: str, modified: float) -> Workspace:
        real = os.path.realpath(path)
        sentinel = _sentinel(real)
        folder, name = os.path.split(path)
        return Workspace(
            folder=name,
            path=path,
            location=Location(token=real, bounds=(real,)),
            modified=modified,
            at_home=os.path.realpath(folder) == self._home,
            is_managed=sentinel is not None,
            origin=_origin(sentinel or {}),
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; False where that cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _sentinel(folder: str) -> dict[str, object] | None:
    """Return the sentinel of a managed workspace, or None where there is none that can be read."""
    try:
        handle = os.open(f"{folder}/{SENTINEL}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            sentinel = json.loads(os.read(handle, _MAX_SENTINEL))
        finally:
            os.close(handle)
    except (OSError, ValueError, RecursionError):
        return None
    return sentinel if isinstance(sentinel, dict) else None


def _origin(sentinel: dict[str, object]) -> str | None:
    origin = sentinel.get("source_repo")
    return origin if isinstance(origin, str) and origin else None


def _modified_folder(full: str, path: str) -> float:
    """Return when a folder was modified, after checking that it can be listed. ``path`` is what the user wrote.

    Raises ModelNotFound, StorageError for a file, OSError.
    """
    try:
        status = os.stat(full)
        if not stat.S_ISDIR(status.st_mode):
            msg = f"Not a model folder but a file: {path}"
            raise StorageError(msg, hint=HintCode.MODEL_FOLDER)
        os.listdir(full)
    except (FileNotFoundError, NotADirectoryError) as exc:
        msg = f"No model folder at {path}"
        raise ModelNotFound(msg) from exc
    return status.st_mtime


def _map_errors(failure: str) -> AbstractContextManager[None]:
    return map_filesystem_errors(failure, access_hint=HintCode.FOLDER_PERMISSIONS)
