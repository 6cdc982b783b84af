"""Tables: columns as wide as their cells or the terminal. On a very narrow terminal each row becomes a paragraph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxknife.cli.render.text import Line, Span, folded, plain, styled_as, wrapped
from mlxknife.domain.text.rules.display import width

Cell = str | Span

_GAP = " | "
_CROSSING = "-+-"
_NARROWEST = 16
"""The minimum width of a column."""
_INDENT = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], columns: int | None = None) -> Iterator[Line]:
    """Yield the lines of a table of at most so many columns. The widest cells are wrapped first."""
    widths = [max(width(plain(row[column])) for row in (header, *rows)) for column in range(len(header))]
    floors = [max(_NARROWEST, width(plain(name))) for name in header]
    if columns is not None and not _shrink(widths, floors, columns - len(_GAP) * (len(widths) - 1)):
        for row in rows:
            yield from _paragraph(header, row, columns)
        return
    yield _line(header, widths)
    yield (_CROSSING.join("-" * cell_width for cell_width in widths),)
    for row in rows:
        for part in _wrapped_row(row, widths):
            yield _line(part, widths)


def _shrink(widths: list[int], floors: Sequence[int], available: int) -> bool:
    """Narrow the widest columns until all fit; return whether they do."""
    while sum(widths) > available:
        broad = [column for column, floor in enumerate(floors) if widths[column] > floor]
        if not broad:
            return False
        widths[max(broad, key=widths.__getitem__)] -= 1
    return True


def _line(row: Sequence[Cell], widths: Sequence[int]) -> Line:
    pieces: list[Cell] = []
    for cell, cell_width in zip(row, widths, strict=True):
        pieces += (_GAP, cell, " " * (cell_width - width(plain(cell))))
    return pieces[1:]


def _wrapped_row(row: Sequence[Cell], widths: Sequence[int]) -> Iterator[Sequence[Cell]]:
    parts = [
        wrapped(plain(cell), cell_width) if width(plain(cell)) > cell_width else [plain(cell)]
        for cell, cell_width in zip(row, widths, strict=True)
    ]
    for number in range(max(map(len, parts))):
        yield [
            styled_as(cell, part[number]) if number < len(part) else "" for cell, part in zip(row, parts, strict=True)
        ]


def _paragraph(header: Sequence[str], row: Sequence[Cell], columns: int) -> Iterator[Line]:
    """Yield the first cell on a line of its own, then the others as ``Name: cell``, as many on a line as fit."""
    yield from folded(row[:1], columns, len(_INDENT))
    line: list[Cell] = []
    for name, cell in zip(header[1:], row[1:], strict=True):
        taken = sum(width(plain(piece)) for piece in line)
        if line and taken + width(f"{_INDENT}{plain(name)}: {plain(cell)}") > columns:
            yield line
            line = []
        line += (f"{_INDENT}{plain(name)}: ", cell)
        if len(line) == 2:  # noqa: PLR2004 - a name and its cell, which may be longer than a line
            *whole, last = folded(line, columns, 2 * len(_INDENT))
            yield from whole
            line = list(last)
    if line:
        yield line
