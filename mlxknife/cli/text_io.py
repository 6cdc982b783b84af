"""Text that a user passes in by stdin, file or argument, and the file that ``--out`` writes."""

from __future__ import annotations

import errno
import os
import sys
from typing import BinaryIO, Self, TextIO

import attrs

from mlxknife.domain.errors import StorageError, ValidationError
from mlxknife.domain.hints import HintCode

_MAX_BYTES = 100 * 1000 * 1000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}


def read_stdin() -> str:
    """Return all of stdin. Raises ValidationError if it is empty, too long or no UTF-8 text."""
    text = _decoded(_stdin().read(_MAX_BYTES + 1), "stdin")
    if not text.strip():
        msg = "stdin is empty"
        raise ValidationError(msg, hint=HintCode.PIPE_TEXT)
    return text


def read_stdin_line() -> str:
    """Return the next line of stdin without its line end.

    Raises EOFError at the end, ValidationError for a line that is too long or no UTF-8 text.
    """
    data = _stdin().readline(_MAX_BYTES + 1)
    if not data:
        raise EOFError
    return _decoded(data, "a line of stdin").removesuffix("\n").removesuffix("\r")


def read_file(path: str) -> str:
    """Return the text of a file. Raises OSError, ValidationError if it is too long or no UTF-8 text."""
    with open(path, "rb") as file:
        return _decoded(file.read(_MAX_BYTES + 1), path)


def checked_utf8(text: str, name: str) -> str:
    """Return a command-line argument unchanged. Raises ValidationError if it was not valid in the locale's encoding."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        msg = f"{name} is not UTF-8"
        raise ValidationError(msg) from exc
    return text


def unescape(text: str) -> str:
    r"""Return a text with the escapes ``\n``, ``\t``, ``\r``, ``\0`` and ``\\`` replaced."""
    pieces = iter(text)
    return "".join(_unescaped_pair(next(pieces, "")) if char == "\\" else char for char in pieces)


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
        return StorageError(f"{exc.strerror}: {self.path}")


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        msg = "stdin is closed"
        raise ValidationError(msg)
    return sys.stdin.buffer


def _unescaped_pair(char: str) -> str:
    return _ESCAPES.get(char, "\\" + char)


def _decoded(data: bytes, name: str) -> str:
    if len(data) > _MAX_BYTES:
        msg = f"{name} is longer than 100MB"
        raise ValidationError(msg, hint=HintCode.SHORTEN_TEXT)
    if b"\0" in data:
        msg = f"{name} is binary, not text"
        raise ValidationError(msg)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        msg = f"{name} is not UTF-8 text"
        raise ValidationError(msg, hint=HintCode.CONVERT_TEXT) from exc
