"""The files of the user as documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mlxknife.domain.retrieval.values import Document, FoundFile, SkippedFile


class DocumentFiles(Protocol):
    """Finds and reads the files below a path. No link is followed, except one that the user names."""

    def root(self, path: str) -> str:
        """Return the absolute path of a file or folder. Raises StorageError if it does not exist."""
        ...

    def find(self, root: str) -> Iterator[FoundFile | SkippedFile]:
        """Yield the files below an absolute path, and what is skipped there, in the order of their names.

        A skipped folder is yielded once, without its files. A root that is a file is yielded even if it is hidden or
        ignored. Raises nothing: what cannot be read is skipped.
        """
        ...

    def read(self, path: str) -> Document | SkippedFile:
        """Return the text of a file that was found, or why it has none. Raises nothing."""
        ...

    def is_below(self, path: str, root: str) -> bool:
        """Whether a path is a root, or lies below it. Raises nothing."""
        ...
