"""Creating workspaces: an interrupted creation shows no workspace that is not complete."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.workspaces.values import Origin


class WorkspaceBuilder(Protocol):
    """Creates workspaces in the workspace home, and the home itself where it is missing.

    Every method may raise StorageError or AccessDenied when the filesystem refuses. The unfinished folder of a killed
    process is not listed as a workspace; the next call of any method deletes it.
    """

    def create(self, name: str, origin: Origin) -> AbstractContextManager[str]:
        """Give an empty folder that becomes the workspace ``name``, in one rename, when the block ends well.

        Its sentinel then records ``origin`` and a hash of the content. When the block raises, nothing is left.
        Raises ValidationError for a name that is taken, before the block or after it, or that is no valid name.
        """
        ...

    def adopt(self, name: str, origin: Origin, folder: str) -> None:
        """Make a workspace of the files in a scratch folder; they are moved. Raises what ``create`` raises."""
        ...

    def scratch(self) -> AbstractContextManager[str]:
        """Give an empty folder on the disk of the workspaces; it is deleted when the block ends."""
        ...
