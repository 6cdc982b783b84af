"""Whoever reads stdout, and may stop to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ListenerGone(Exception):
    """Nothing more can be written to stdout. It is no error of a command: there is nobody left to tell."""

    def __init__(self, error: OSError) -> None:
        """Hold what the system said."""
        super().__init__(error.strerror)
        self.error = error


@contextmanager
def listened_to() -> Iterator[None]:
    """Raise ListenerGone where writing to stdout fails."""
    try:
        yield
    except OSError as exc:
        raise ListenerGone(exc) from exc
