"""Indexes on disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from mlxknife.domain.retrieval.values import Candidates, IndexedDocument, IndexInfo, IndexModel


class IndexStore(Protocol):
    """One open index. Each call is one transaction: a process that is killed leaves the state before it or after it.

    Every method raises IndexNotUsable for a damaged file, LocksPresent if another process keeps the index too long,
    StorageError, and AccessDenied.
    """

    def info(self) -> IndexInfo:
        """Return what the index holds."""
        ...

    def digests(self) -> Mapping[str, bytes]:
        """Return the hash of each document, by its path."""
        ...

    def add_roots(self, roots: Sequence[str]) -> None:
        """Record paths that are indexed; known ones are ignored."""
        ...

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """Take in documents, each in place of the one with its path."""
        ...

    def remove(self, paths: Collection[str]) -> None:
        """Remove the documents with these paths; unknown ones are ignored."""
        ...

    def search(self, vector: Sequence[float] | None, match: str | None, count: int) -> Candidates:
        """Return the nearest chunks of a vector of length 1, and those that match an FTS5 expression.

        There are at most ``count`` of each, with exact cosines. A vector or an expression that is None finds nothing.
        """
        ...

    def close(self) -> None:
        """Close the file. Closing twice is allowed. Raises nothing."""
        ...


class IndexStores(Protocol):
    """Opens indexes."""

    def exists(self, path: str) -> bool:
        """Whether there is an index. A missing file and an empty one are none. Raises what ``open`` raises."""
        ...

    def open(self, path: str, new: IndexModel | None = None) -> IndexStore:
        """Open an index. With ``new``, where there is no file or an empty one, make an index of that model.

        Nothing else is overwritten. Raises IndexNotUsable for a file that is no index or is damaged, StorageError where
        there is none, AccessDenied, LocksPresent.
        """
        ...
