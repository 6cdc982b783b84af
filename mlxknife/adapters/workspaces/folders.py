"""Workspaces: the folders of the workspace home, and any folder that a path names."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator

from mlxknife.domain.errors import AccessDenied, ModelNotFound, StorageError, ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.stored_models import Workspace

SENTINEL = ".mlxk_workspace.json"

_CONFIG = "config.json"
_MODEL_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".npz")
_LEAVING = ".mlxk-removed-"
_MAX_SENTINEL = 64 * 1024


class LocalWorkspaces:
    """Workspaces on this machine."""

    def __init__(self, home: str) -> None:
        """Take the workspace home, which need not exist."""
        self._home = os.path.realpath(os.path.expanduser(home))

    def at_home(self) -> tuple[Workspace, ...]:
        """See ``Workspaces.at_home``."""
        try:
            with os.scandir(self._home) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise _storage_error(exc, "The workspace home", self._home) from exc
        return tuple(self._workspaces(entries))

    def at_path(self, path: str) -> Workspace:
        """See ``Workspaces.at_path``."""
        try:
            full = os.path.abspath(os.path.expanduser(path))
            status = os.stat(full)
            if not stat.S_ISDIR(status.st_mode):
                msg = f"Not a model folder but a file: {path}"
                raise StorageError(msg, hint=HintCode.MODEL_FOLDER)
            os.listdir(full)
        except (FileNotFoundError, NotADirectoryError) as exc:
            msg = f"No model folder at {path}"
            raise ModelNotFound(msg) from exc
        except OSError as exc:
            raise _storage_error(exc, "The folder", path) from exc
        except ValueError as exc:  # a NUL, or half a character
            msg = f"Not a path: {path!a}"
            raise ValidationError(msg) from exc
        return self._workspace(full, status.st_mtime)

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

        try:
            if os.path.islink(path):
                os.unlink(path)
                return
            leaving = f"{os.path.dirname(path)}/{_LEAVING}{os.urandom(4).hex()}"
            os.rename(path, leaving)
            try:
                shutil.rmtree(leaving)
            except OSError:
                os.rename(leaving, path)  # what is left of it stays in sight
                raise
        except OSError as exc:
            raise _storage_error(exc, "The workspace", path) from exc

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
                names = [_CONFIG]  # it cannot be told from a model, so it is shown with its reason
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
    """Tell whether an entry is a folder or leads to one; where that cannot be seen, it is none."""
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
    """Return what the sentinel of a managed workspace says, or None where there is none that can be read."""
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


def _storage_error(exc: OSError, what: str, path: str) -> StorageError:
    if isinstance(exc, PermissionError):
        return AccessDenied(f"{what} may not be read: {path}", hint=HintCode.FOLDER_PERMISSIONS)
    if isinstance(exc, NotADirectoryError):
        return StorageError(f"{what} is not a folder: {path}")
    return StorageError(f"{what} cannot be read: {path}: {exc.strerror}")
