"""The layout of ``--help``: as wide as the terminal, between 40 and 100 columns. Imports nothing but the stdlib."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from mlxknife.cli.render.terminal import columns

_WIDEST = 100
_NARROWEST = 40
_FIRST_COLUMN = re.compile(r" *\S.*? {2,}")
_EXAMPLE = "  ml"
"""How an example begins. It is never wrapped, so that users can copy it."""


class HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs. An indented line stays a line: a row of a table, or an example."""

    def __init__(self, prog: str) -> None:
        """Set the width, because argparse would import ``shutil`` and four compression libraries to find it."""
        super().__init__(prog, width=help_width(sys.stdout))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = wrap_rows(_blocks(text.strip("\n")), width)
        return "".join(f"{indent}{line}\n" for line in lines)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return list(wrap_rows((" ".join(text.split()),), width))


def help_width(stream: TextIO) -> int:
    """Return the number of columns that a help text on a stream uses."""
    width = columns(stream)
    return max(_NARROWEST, min(width, _WIDEST)) if width > 0 else _WIDEST


def wrap_rows(rows: Iterable[str], width: int) -> Iterator[str]:
    """Yield rows wrapped to a width. In a row of two columns, the second column stays aligned."""
    import textwrap  # noqa: PLC0415 - only help texts need it

    for row in rows:
        if row.startswith(_EXAMPLE):
            yield row
            continue
        found = _FIRST_COLUMN.match(row)
        gap = " " * (found.end() if found else 0)
        yield from textwrap.wrap(row, width, subsequent_indent=gap, break_on_hyphens=False) or [""]


def _blocks(text: str) -> Iterator[str]:
    """Yield each paragraph as one line, and each indented or empty line as it is."""
    paragraph: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        if paragraph:
            yield " ".join(paragraph)
            paragraph = []
        yield line
    if paragraph:
        yield " ".join(paragraph)
