"""Lines of text with a little style, and how they look on a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from typing import TextIO

import attrs

from mlxknife.domain.rules.display import visible


class Style(Enum):
    """What a piece of text means to the eye; the value is its terminal code."""

    GOOD = "32"
    BAD = "31"
    WEAK = "33"
    FAINT = "2"
    STRONG = "1"


@attrs.frozen
class Span:
    """A piece of text with a style."""

    text: str
    style: Style


Line = Iterable[str | Span]


def paint(line: Line, *, colour: bool) -> str:
    """Return a line as it is printed: unprintable characters escaped first, then coloured."""
    return "".join(_paint_piece(piece, colour=colour) for piece in line).rstrip()


def plain(piece: str | Span) -> str:
    """Return the visible text of a piece."""
    return visible(piece.text if isinstance(piece, Span) else piece)


def _paint_piece(piece: str | Span, *, colour: bool) -> str:
    if colour and isinstance(piece, Span):
        return f"\x1b[{piece.style.value}m{plain(piece)}\x1b[0m"
    return plain(piece)


def print_line(line: Line, stream: TextIO) -> None:
    """Write one line of text, coloured where that is wanted."""
    stream.write(paint(line, colour=wants_colour(stream)) + "\n")


def wants_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user did not ask for plain text."""
    plain_wanted = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain_wanted


def wants_motion(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that can redraw what it shows."""
    return stream.isatty() and not (os.environ.get("CI") or os.environ.get("TERM") == "dumb")
