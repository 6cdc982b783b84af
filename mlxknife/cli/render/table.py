"""Tables: columns as wide as their contents."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from mlxknife.cli.render.text import Line, Span, plain
from mlxknife.domain.rules.display import width

Cell = str | Span

_GAP = " | "
_CROSSING = "-+-"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    wrap: Mapping[int, int] | None = None,
) -> Iterator[Line]:
    """Yield the lines of a table. ``wrap`` breaks the text of a column at so many characters."""
    broken = [line for row in rows for line in _broken(row, wrap or {})]
    widths = [max(width(plain(row[column])) for row in (header, *broken)) for column in range(len(header))]
    yield _line(header, widths)
    yield (_CROSSING.join("-" * columns for columns in widths),)
    for row in broken:
        yield _line(row, widths)


def _line(row: Sequence[Cell], widths: Sequence[int]) -> Line:
    pieces: list[Cell] = []
    for cell, columns in zip(row, widths, strict=True):
        pieces += (_GAP, cell, " " * (columns - width(plain(cell))))
    return pieces[1:]


def _broken(row: Sequence[Cell], wrap: Mapping[int, int]) -> Iterator[Sequence[Cell]]:
    parts = {column: textwrap.wrap(plain(row[column]), columns) or [""] for column, columns in wrap.items()}
    for number in range(max(map(len, parts.values()), default=1)):
        yield [_part(cell, parts.get(column), number) for column, cell in enumerate(row)]


def _part(cell: Cell, parts: list[str] | None, number: int) -> Cell:
    if parts is None:
        return cell if number == 0 else ""
    return parts[number] if number < len(parts) else ""
