"""Lines of text with a little style, and how they look on a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TextIO

import attrs

from mlxknife.cli.help_text import told_columns
from mlxknife.domain.text.rules.display import visible, width

_USUAL = 80
"""How wide a terminal is that does not say it."""
_NARROWEST = 20
"""Where less is left, lines run over the edge."""
_WORDS = re.compile(r"[^ -]*(?:-+| +|$)")


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


def folded(line: Line, room: int | None, indent: int) -> Iterator[Line]:
    """Yield a line as lines that are not wider than the room; of its pieces only the last is broken, and indented."""
    *before, last = line
    taken = sum(width(plain(piece)) for piece in before)
    if room is None or taken + width(plain(last)) <= room:
        yield (*before, last)
        return
    first, *rest = wrapped(plain(last), max(room - max(taken, indent), _NARROWEST))
    yield (*before, styled_as(last, first))
    for part in rest:
        yield (" " * indent, styled_as(last, part))


def wrapped(text: str, columns: int) -> list[str]:
    """Break a visible text at spaces or behind hyphens into lines so wide; a word that is wider is cut."""
    lines, line = [], ""
    for word in _WORDS.findall(text):
        if line and width(line) + width(word.rstrip(" ")) > columns:
            lines.append(line.rstrip(" "))
            line = ""
        line += word
        while width(line.rstrip(" ")) > columns:
            cut = _fitting(line, columns)
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line.rstrip(" ")] if line.strip(" ") or not lines else lines


def _fitting(text: str, columns: int) -> int:
    """Return how many characters fit, at least one."""
    count = 1
    while count < len(text) and width(text[: count + 1]) <= columns:
        count += 1
    return count


def styled_as(piece: str | Span, text: str) -> str | Span:
    """Return a text in the style of a piece."""
    return Span(text, piece.style) if isinstance(piece, Span) else text


def room_on(stream: TextIO) -> int | None:
    """Return how wide lines on a stream may be: as its terminal; in a pipe they stay whole."""
    return (told_columns(stream) or _USUAL) if stream.isatty() else None


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
