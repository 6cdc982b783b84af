"""The models in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot


class ModelStore(Protocol):
    """Knows which model repos are cached, which commits of them, and which commits their refs name."""

    def folders(self) -> tuple[str, ...]:
        """Return the folder names of all model repos, in any order; empty when there is no cache yet.

        Raises StorageError when the cache is not a folder, AccessDenied when it may not be read.
        """
        ...

    def repo(self, folder: str) -> CachedRepo:
        """Return the refs and snapshots of one repo.

        Raises nothing: damage, and a repo that is missing, is the ``problem`` of the result.
        """
        ...

    def manifest(self, snapshot: CachedSnapshot) -> Mapping[str, RecordedFile] | None:
        """Return the recorded size and hash of every file of a commit, or None where there is no listing.

        Raises nothing: a listing that cannot be read counts as none.
        """
        ...
