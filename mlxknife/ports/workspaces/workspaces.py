"""Models in plain folders of the user."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.stored_models import Workspace


class Workspaces(Protocol):
    """Knows the model folders of the workspace home, and any folder that a path names."""

    def at_home(self) -> tuple[Workspace, ...]:
        """Return the model folders directly inside the workspace home; empty when there is no home.

        A folder counts when it holds a config.json, weights or a sentinel.
        Raises StorageError when the home is not a folder, AccessDenied when it may not be read.
        """
        ...

    def at_path(self, path: str) -> Workspace:
        """Return the folder that a path names (``~`` is the user's home), whatever it holds.

        Raises ModelNotFound when nothing is there, StorageError when it is not a folder, AccessDenied when it may not
        be read, ValidationError for a text that cannot be a path.
        """
        ...

    def size_bytes(self, path: str) -> int:
        """Return the bytes of all files below a workspace; a link counts its own size. Raises nothing."""
        ...

    def discard(self, path: str) -> None:
        """Remove a workspace: one rename beside it, then its files. Of a link only the link is removed.

        Raises StorageError, AccessDenied.
        """
        ...

    def holds_model(self, path: str) -> bool:
        """Return whether a path is an existing folder with a config.json. Raises nothing."""
        ...
