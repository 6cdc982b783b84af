"""Where the bytes of a download are written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.transfer.values import RemoteFile


class Sink(Protocol):
    """Receives the bytes of one file in order. Every method but ``position`` may raise StorageError or AccessDenied."""

    @property
    def position(self) -> int:
        """How many bytes are stored: the offset of the next byte."""
        ...

    def write(self, data: bytes) -> None:
        """Store the next bytes. Raises WrongBytes when the file would grow beyond its size."""
        ...

    def restart(self) -> None:
        """Delete all stored bytes and go back to position 0."""
        ...

    def finish(self) -> None:
        """Check size and hash and store the file for good. Raises WrongBytes, after ``restart``, when they differ."""
        ...


class Sinks(Protocol):
    """Opens the sink of each file of a download."""

    def open(self, file: RemoteFile, is_cancelled: Callable[[], bool]) -> AbstractContextManager[Sink | None]:
        """Open the sink of a file once no other process writes to it.

        It polls ``is_cancelled`` while it waits. It gives None when the wait was cancelled, and when the file is stored
        and right already. A sink that is closed before ``finish`` keeps its bytes for the next download.
        Raises StorageError, AccessDenied.
        """
        ...
