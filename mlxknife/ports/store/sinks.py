"""Where the bytes of a download go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from mlxknife.domain.transfer.values import RemoteFile


class Sink(Protocol):
    """Takes the bytes of one file in order. Every method may raise StorageError or AccessDenied."""

    @property
    def position(self) -> int:
        """How many bytes are there: the next to come is this one. Raises nothing."""
        ...

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises WrongBytes when there are more than the file has."""
        ...

    def restart(self) -> None:
        """Forget all bytes."""
        ...

    def finish(self) -> None:
        """Make the file what it is to be. Raises WrongBytes, having forgotten all bytes, when it is not that."""
        ...


class Sinks(Protocol):
    """Opens a sink for each file."""

    def open(self, file: RemoteFile, is_given_up: Callable[[], bool]) -> AbstractContextManager[Sink | None]:
        """Open the sink of a file once nobody else writes to it; None where somebody brought the file meanwhile.

        It waits for others until it is given up, and is None then, too. A sink that was not finished keeps its bytes
        for the next time. Raises StorageError, AccessDenied.
        """
        ...
