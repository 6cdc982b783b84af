"""What a stream can show: its width, colour, and whether a line can be redrawn. Imports nothing but the stdlib."""

from __future__ import annotations

import os
from typing import TextIO

_DEFAULT_COLUMNS = 80
_DEFAULT_ROWS = 24
"""The size of a terminal that reports none."""


def columns(stream: TextIO) -> int:
    """Return the width of a stream: ``COLUMNS``, else that of its terminal, else 0."""
    try:
        return max(0, int(os.environ.get("COLUMNS") or os.get_terminal_size(stream.fileno()).columns))
    except (OSError, ValueError):  # not a terminal
        return 0


def screen_size(stream: TextIO) -> tuple[int, int]:
    """Return the real columns and rows of a terminal: a wrong ``COLUMNS`` would break the redrawing of lines."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # no terminal, as in a test
        columns = rows = 0
    return columns or _DEFAULT_COLUMNS, rows or _DEFAULT_ROWS


def line_width(stream: TextIO) -> int | None:
    """Return the maximum width of a line: the columns of a terminal, None (no limit) for a pipe or file."""
    return (columns(stream) or _DEFAULT_COLUMNS) if stream.isatty() else None


def has_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal and ``NO_COLOR``, ``CI`` and ``TERM=dumb`` are not set."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_plain


def can_redraw(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move its cursor: no ``CI``, no ``TERM=dumb``."""
    return stream.isatty() and not (os.environ.get("CI") or os.environ.get("TERM") == "dumb")
