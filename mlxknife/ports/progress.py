"""Telling somebody how far a long work is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears of a work while it goes on. Nothing depends on what it does with that; it raises nothing."""

    def begin(self, label: str, total_bytes: int) -> None:
        """Hear that a work of so many bytes begins."""
        ...

    def advance(self, count: int) -> None:
        """Hear that so many bytes more are done; from any thread."""
        ...

    def end(self) -> None:
        """Hear that the work is over, finished or not."""
        ...
