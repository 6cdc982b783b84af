"""Hashing files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from mlxknife.domain.models.values.hashes import HashJob, HashOutcome


class Hasher(Protocol):
    """Hashes files of models, several at a time, in constant memory."""

    def hash_files(self, jobs: Iterable[HashJob], on_bytes: Callable[[int], None]) -> Iterator[HashOutcome]:
        """Yield one outcome for every job, in any order; call ``on_bytes`` with the size of every chunk that was read.

        A file that cannot be read, or leads out of its location, gives an outcome with a problem. Raises nothing.
        """
        ...
