"""Making workspaces, so that being stopped at any moment shows nothing that is not whole."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.workspaces.values import Origin


class WorkspaceBuilder(Protocol):
    """Makes new workspaces in the workspace home, which it makes where there is none.

    Every method may raise StorageError or AccessDenied when the filesystem refuses. What somebody leaves behind who is
    killed is not listed, and the next use of the workshop removes it.
    """

    def making(self, name: str, origin: Origin) -> AbstractContextManager[str]:
        """Give an empty folder that becomes the workspace of that name, in one step, when the block ends well.

        Its sentinel then records the origin and a hash of the content. When the block raises, nothing is left.
        Raises ValidationError when something has that name already, at the end if need be, or nothing can have it.
        """
        ...

    def scratch(self) -> AbstractContextManager[str]:
        """Give an empty folder that is gone when the block ends, on the disk that the workspaces are on."""
        ...
