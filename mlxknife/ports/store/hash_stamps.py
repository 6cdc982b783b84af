"""The record of which files were hashed and were right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mlxknife.domain.models.values.hashes import HashJob


class HashStamps(Protocol):
    """Stamps of verified files. They can be wrong: a damaged disk changes bytes without changing size or times."""

    def discard(self, jobs: Iterable[HashJob]) -> None:
        """Delete the stamps of these files, where there are any and this user may change them. Raises nothing."""
        ...
