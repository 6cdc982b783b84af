"""What is remembered of files that were proven once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mlxknife.domain.models.values.hashes import HashJob


class Proofs(Protocol):
    """Forgets proofs that turned out to be worth nothing: a disk can lose bytes without a trace on the outside."""

    def withdraw(self, jobs: Iterable[HashJob]) -> None:
        """Forget that these files were proven, where that was remembered and may be changed. Raises nothing."""
        ...
