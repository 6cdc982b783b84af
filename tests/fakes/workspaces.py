"""Workspaces in memory."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

import attrs

from mlxknife.domain.errors import AccessDenied, ModelNotFound, StorageError, ValidationError
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.stored_models import Workspace

_WEIGHTS = (".safetensors", ".gguf", ".bin", ".npz")


@attrs.define
class FakeWorkspaces:
    """Implements ``Workspaces``. ``folders`` maps absolute paths to file names, ``files`` are paths of files."""

    home: str = "/home/models"
    folders: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    files: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    origins: Mapping[str, str] = attrs.field(factory=dict)
    """Source repos of workspaces with our sentinel."""
    user_home: str = "/home"
    current: str = "/current"

    def at_home(self) -> tuple[Workspace, ...]:
        if self.home in self.files:
            msg = f"{self.home} is no folder"
            raise StorageError(msg)
        if self.home in self.denied:
            msg = f"{self.home} may not be read"
            raise AccessDenied(msg)
        return tuple(self._workspace(path) for path in sorted(self.folders) if self._counts(path))

    def at_path(self, path: str) -> Workspace:
        if "\0" in path or not path.isprintable():
            msg = "No path looks like that"
            raise ValidationError(msg)
        full = self._full(path)
        if full in self.files:
            msg = f"{path} is a file"
            raise StorageError(msg)
        if full in self.denied:
            msg = f"{path} may not be read"
            raise AccessDenied(msg)
        if full not in self.folders:
            msg = f"Nothing at {path}"
            raise ModelNotFound(msg)
        return self._workspace(full)

    def size_bytes(self, path: str) -> int:
        return len(self.folders.get(path, ()))

    def discard(self, path: str) -> None:
        if path in self.denied:
            msg = f"{path} may not be removed"
            raise AccessDenied(msg)
        self.folders = {folder: names for folder, names in self.folders.items() if folder != path}

    def holds_model(self, path: str) -> bool:
        return "config.json" in self.folders.get(self._full(path), ()) and self._full(path) not in self.denied

    def _counts(self, path: str) -> bool:
        folder, name = posixpath.split(path)
        is_model = any(
            file == "config.json" or file.endswith(_WEIGHTS) or path in self.origins for file in self.folders[path]
        )
        return folder == self.home and not name.startswith(".") and (is_model or path in self.denied)

    def _full(self, path: str) -> str:
        path = self.user_home + path[1:] if path.startswith("~") else path
        return posixpath.normpath(posixpath.join(self.current, path))

    def _workspace(self, path: str) -> Workspace:
        folder, name = posixpath.split(path)
        return Workspace(
            folder=name,
            path=path,
            location=Location(token=path, bounds=(path,)),
            modified=1_700_000_000.0,
            at_home=folder == self.home,
            is_managed=path in self.origins,
            origin=self.origins.get(path),
        )
