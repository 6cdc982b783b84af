"""Telling somebody how far a long work is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears of a work while it goes on. Nothing depends on what it does with that; it raises nothing."""

    def begin(self, label: str, total_bytes: int) -> None:
        """Hear that a work of so many bytes begins."""
        ...

    def begin_file(self, name: str, size: int, done: int) -> None:
        """Hear that one file of the work begins, of which so many bytes were done before; from any thread."""
        ...

    def advance(self, count: int, file: str | None = None) -> None:
        """Hear that so many bytes more are done, or must be done again where it is negative; from any thread."""
        ...

    def end_file(self, name: str) -> None:
        """Hear that a file is over, finished or not; from any thread."""
        ...

    def wait(self, reason: str) -> None:
        """Hear that the work waits for somebody, and goes on by itself; from any thread."""
        ...

    def end(self) -> None:
        """Hear that the work is over, finished or not."""
        ...


class NoProgress:
    """Progress that nobody hears of."""

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
