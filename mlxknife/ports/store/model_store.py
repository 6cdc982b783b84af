"""The cache of downloaded models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot


class ModelStore(Protocol):
    """Knows which model repos are cached, which commits of them, and what their refs say."""

    def folders(self) -> tuple[str, ...]:
        """Return the folder names of all model repos, in any order; empty when there is no cache yet.

        Raises StorageError when the cache is no folder, AccessDenied when it may not be read.
        """
        ...

    def repo(self, folder: str) -> CachedRepo:
        """Look at one repo from outside. Damage is told in the value; for a repo that went away, too.

        Raises nothing of its own.
        """
        ...

    def manifest(self, snapshot: CachedSnapshot) -> Mapping[str, RecordedFile] | None:
        """Return what the cache recorded of every file of a commit, or None where it did not.

        Raises nothing: a manifest that cannot be read is none.
        """
        ...
