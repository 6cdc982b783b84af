"""The file that an answer is also written to."""

from __future__ import annotations

import errno
import os
from typing import Self, TextIO

import attrs

from mlxknife.domain.errors import StorageError


@attrs.define
class AnswerFile:
    """A file that is emptied when there is something to write, not before; what was written stays."""

    path: str
    _file: TextIO | None = None

    def check(self) -> None:
        """Raise OSError where it is plain already that nothing can be written there."""
        if os.path.isdir(self.path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        if not os.access(self.path if os.path.exists(self.path) else folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)

    def write(self, text: str) -> None:
        """Write a piece, to be seen at once; even an empty one empties the file. Raises OSError, StorageError."""
        if self._file is None:
            self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 - it stays open from piece to piece
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as exc:
            raise self._failure(exc) from exc

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close it. Raises StorageError where that fails, and nothing else did before."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError as exc:
            if kind is None:
                raise self._failure(exc) from exc

    def _failure(self, exc: OSError) -> StorageError:
        return StorageError(f"{exc.strerror}: {self.path}")
