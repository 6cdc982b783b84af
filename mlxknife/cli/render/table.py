"""Tables: columns as wide as their contents, or as the terminal allows; where that is too little, a paragraph a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxknife.cli.render.text import Line, Span, folded, plain, styled_as, wrapped
from mlxknife.domain.text.rules.display import width

Cell = str | Span

_GAP = " | "
_CROSSING = "-+-"
_NARROWEST = 16
"""A column is not made narrower."""
_INDENT = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], room: int | None = None) -> Iterator[Line]:
    """Yield the lines of a table that is not wider than the room; the widest columns are broken first."""
    widths = [max(width(plain(row[column])) for row in (header, *rows)) for column in range(len(header))]
    floors = [max(_NARROWEST, width(plain(name))) for name in header]
    if room is not None and not _fit(widths, floors, room - len(_GAP) * (len(widths) - 1)):
        for row in rows:
            yield from _paragraph(header, row, room)
        return
    yield _line(header, widths)
    yield (_CROSSING.join("-" * columns for columns in widths),)
    for row in rows:
        for part in _broken(row, widths):
            yield _line(part, widths)


def _fit(widths: list[int], floors: Sequence[int], room: int) -> bool:
    """Narrow the widest columns until all fit; tell whether they do."""
    while sum(widths) > room:
        broad = [column for column, floor in enumerate(floors) if widths[column] > floor]
        if not broad:
            return False
        widths[max(broad, key=widths.__getitem__)] -= 1
    return True


def _line(row: Sequence[Cell], widths: Sequence[int]) -> Line:
    pieces: list[Cell] = []
    for cell, columns in zip(row, widths, strict=True):
        pieces += (_GAP, cell, " " * (columns - width(plain(cell))))
    return pieces[1:]


def _broken(row: Sequence[Cell], widths: Sequence[int]) -> Iterator[Sequence[Cell]]:
    parts = [
        wrapped(plain(cell), columns) if width(plain(cell)) > columns else [plain(cell)]
        for cell, columns in zip(row, widths, strict=True)
    ]
    for number in range(max(map(len, parts))):
        yield [
            styled_as(cell, part[number]) if number < len(part) else "" for cell, part in zip(row, parts, strict=True)
        ]


def _paragraph(header: Sequence[str], row: Sequence[Cell], room: int) -> Iterator[Line]:
    """Yield the first cell on a line, and under it the others, each behind its name, as many on a line as fit."""
    yield from folded(row[:1], room, len(_INDENT))
    line: list[Cell] = []
    for name, cell in zip(header[1:], row[1:], strict=True):
        taken = sum(width(plain(piece)) for piece in line)
        if line and taken + width(f"{_INDENT}{plain(name)}: {plain(cell)}") > room:
            yield line
            line = []
        line += (f"{_INDENT}{plain(name)}: ", cell)
        if len(line) == 2:  # noqa: PLR2004 - a name and its cell, which may be too long for any line
            *whole, last = folded(line, room, 2 * len(_INDENT))
            yield from whole
            line = list(last)
    if line:
        yield line
