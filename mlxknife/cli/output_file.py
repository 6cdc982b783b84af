"""The file that ``--out`` writes."""

from __future__ import annotations

import errno
import os
from typing import Self, TextIO

import attrs

from mlxknife.domain.errors import StorageError
from mlxknife.domain.filesystem_errors import filesystem_error


@attrs.define
class OutputFile:
    """A text file that the first write truncates. Text that was written before an error stays in it."""

    path: str
    _file: TextIO | None = None

    def check(self) -> None:
        """Raise OSError if the path cannot be written: a directory, a missing parent, no permission."""
        if os.path.isdir(self.path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        if not os.access(self.path if os.path.exists(self.path) else folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)

    def write(self, text: str) -> None:
        """Append a text and flush it; the first call truncates the file. Raises OSError, StorageError."""
        if self._file is None:
            self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 - it stays open for the next writes
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as exc:
            raise self._failure(exc) from exc

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the file. Raises StorageError if that fails and the block raised nothing."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError as exc:
            if kind is None:
                raise self._failure(exc) from exc

    def _failure(self, exc: OSError) -> StorageError:
        return filesystem_error(exc, self.path)
