"""Models in plain folders of the user."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.stored_models import Workspace


class Workspaces(Protocol):
    """Knows the folders of the workspace home and any folder that a path names."""

    def at_home(self) -> tuple[Workspace, ...]:
        """Return the model folders directly inside the workspace home; empty when there is no home.

        A folder counts when it holds a config.json or weights.
        Raises StorageError when the home is no folder, AccessDenied when it may not be read.
        """
        ...

    def at_path(self, path: str) -> Workspace:
        """Return the folder that a path names (``~`` is the user's home), whatever it holds.

        Raises ModelNotFound when there is nothing, StorageError when it is no folder, AccessDenied when it may not be
        looked at, ValidationError when no path can look like that.
        """
        ...

    def size_bytes(self, path: str) -> int:
        """Return the bytes of all files below a workspace, each link as small as it is. Raises nothing."""
        ...

    def discard(self, path: str) -> None:
        """Remove a workspace: one rename beside it, then the bytes. A link in its place goes, what it leads to stays.

        Raises StorageError, AccessDenied.
        """
        ...

    def holds_model(self, path: str) -> bool:
        """Tell whether a path is an existing folder with a config.json. Raises nothing."""
        ...
