"""Lines of text in a few styles: how they are coloured, wrapped and made safe for a terminal; ages and durations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TextIO

import attrs

from mlxknife.cli.render.terminal import has_colour
from mlxknife.domain.text.rules.display import is_unprintable, visible, width

_NARROWEST = 20
"""The minimum width of a wrapped column. A terminal that leaves less gets longer lines."""
_WORDS = re.compile(r"-*[^ -]*(?:-+| +|$)")
_LAYOUT = "\n\t"
_AGES = (
    ("y", 365 * 86_400),
    ("mo", 30 * 86_400),
    ("w", 7 * 86_400),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
)


class Style(Enum):
    """The meaning of a piece of text. The value is its ANSI code."""

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


def print_line(line: Line, stream: TextIO) -> None:
    """Write one line to a stream, in colour if the stream supports it."""
    stream.write(paint(line, colour=has_colour(stream)) + "\n")


def paint(line: Line, *, colour: bool) -> str:
    """Return a line as it is printed: unprintable characters are escaped first, then spans are coloured."""
    return "".join(_paint_piece(piece, colour=colour) for piece in line).rstrip()


def plain(piece: str | Span) -> str:
    """Return the visible text of a piece, without its style."""
    return visible(piece.text if isinstance(piece, Span) else piece)


def terminal_safe(text: str) -> str:
    """Return a text with every control and bidi character escaped, except line feeds and tabs.

    Each character is escaped on its own, so a text that arrives in pieces is as safe as a whole one.
    """
    if text.isprintable():
        return text
    return "".join(visible(char) if is_unprintable(char) and char not in _LAYOUT else char for char in text)


def folded(line: Line, columns: int | None, indent: int) -> Iterator[Line]:
    """Yield a line as lines of at most so many columns. Only its last piece is wrapped, with an indent."""
    *before, last = line
    taken = sum(width(plain(piece)) for piece in before)
    if columns is None or taken + width(plain(last)) <= columns:
        yield (*before, last)
        return
    first, *rest = wrapped(plain(last), max(columns - max(taken, indent), _NARROWEST))
    yield (*before, styled_as(last, first))
    for part in rest:
        yield (" " * indent, styled_as(last, part))


def wrapped(text: str, columns: int) -> list[str]:
    """Break a visible text after spaces or hyphens into lines of at most so many columns. Longer words are cut."""
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


def styled_as(piece: str | Span, text: str) -> str | Span:
    """Return a text in the style of a piece."""
    return Span(text, piece.style) if isinstance(piece, Span) else text


def age(seconds: float) -> str:
    """Return how long ago something was, such as ``2d ago``; ``just now`` for less than a minute."""
    for unit, length in _AGES:
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return "just now"


def duration(seconds: float) -> str:
    """Return a length of time: ``42s``, ``3m05s``, ``2h10m``."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"  # noqa: PLR2004


def _paint_piece(piece: str | Span, *, colour: bool) -> str:
    if colour and isinstance(piece, Span):
        return f"\x1b[{piece.style.value}m{plain(piece)}\x1b[0m"
    return plain(piece)


def _fitting(text: str, columns: int) -> int:
    """Return how many characters fit into the columns, at least one."""
    count = 1
    while count < len(text) and width(text[: count + 1]) <= columns:
        count += 1
    return count
