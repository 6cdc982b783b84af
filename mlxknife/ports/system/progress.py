"""Progress of a long operation."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of an operation. No method raises, and the operation does not depend on any of them."""

    def begin(self, label: str, total_bytes: int) -> None:
        """Start an operation of so many bytes."""
        ...

    def begin_file(self, name: str, size: int, done: int) -> None:
        """Start one file, of which ``done`` bytes are complete already. May be called from any thread."""
        ...

    def advance(self, count: int, file: str | None = None) -> None:
        """Add bytes that are done; a negative count is to be done again. May be called from any thread."""
        ...

    def end_file(self, name: str) -> None:
        """End a file, complete or not. May be called from any thread."""
        ...

    def wait(self, reason: str) -> None:
        """Report that the operation waits, and continues by itself. May be called from any thread."""
        ...

    def end(self) -> None:
        """End the operation, complete or not."""
        ...


class NoProgress:
    """Progress that ignores everything: a base for classes that need only some of the methods."""

    def begin(self, label: str, total_bytes: int) -> None:
        """See ``Progress.begin``."""

    def begin_file(self, name: str, size: int, done: int) -> None:
        """See ``Progress.begin_file``."""

    def advance(self, count: int, file: str | None = None) -> None:
        """See ``Progress.advance``."""

    def end_file(self, name: str) -> None:
        """See ``Progress.end_file``."""

    def wait(self, reason: str) -> None:
        """See ``Progress.wait``."""

    def end(self) -> None:
        """See ``Progress.end``."""
