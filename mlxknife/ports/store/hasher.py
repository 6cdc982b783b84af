"""Hashing files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from mlxknife.domain.models.values.hashes import HashJob, HashOutcome


class Hasher(Protocol):
    """Hashes files of models, several at a time, with memory that does not grow with them."""

    def hash_files(self, jobs: Iterable[HashJob], on_bytes: Callable[[int], None]) -> Iterator[HashOutcome]:
        """Yield an outcome for every job, in any order; ``on_bytes`` hears of every piece that was read.

        A file that cannot be read, or leads out of its location, is an outcome with a problem. Raises nothing.
        """
        ...
