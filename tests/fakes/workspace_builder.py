"""A workspace builder that keeps its workspaces in memory; the folders that it gives are real."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from mlxknife.domain.errors import AccessDenied, ValidationError
from mlxknife.domain.workspaces.values import Origin


@attrs.define
class FakeWorkspaceBuilder:
    """Implements ``WorkspaceBuilder``."""

    made: dict[str, tuple[Origin, dict[str, bytes]]] = attrs.field(factory=dict)
    """The origin and the files of every workspace, by name."""
    is_denied: bool = False
    scratch_folders: list[str] = attrs.field(factory=list)
    """The scratch folders that are in use."""

    @contextmanager
    def create(self, name: str, origin: Origin) -> Iterator[str]:
        self._check(name)
        with self.scratch() as folder:
            yield folder
            self._check(name)
            files = {str(path.relative_to(folder)): path for path in Path(folder).rglob("*") if path.is_file()}
            self.made[name] = (origin, {file: path.read_bytes() for file, path in files.items()})

    def adopt(self, name: str, origin: Origin, folder: str) -> None:
        with self.create(name, origin) as new:
            for path in Path(folder).iterdir():
                path.rename(Path(new, path.name))

    @contextmanager
    def scratch(self) -> Iterator[str]:
        if self.is_denied:
            msg = "The workspace home may not be written to"
            raise AccessDenied(msg)
        with tempfile.TemporaryDirectory() as folder:
            self.scratch_folders.append(folder)
            try:
                yield folder
            finally:
                self.scratch_folders.remove(folder)

    def _check(self, name: str) -> None:
        if not name or name.startswith(".") or "/" in name or not name.isprintable() or len(name.encode()) > 255:
            msg = f"No workspace can be called {name!a}"
            raise ValidationError(msg)
        if name in self.made:
            msg = f"There is a workspace '{name}' already"
            raise ValidationError(msg)
