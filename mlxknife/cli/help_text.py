"""The form of ``--help``: as wide as the terminal, up to a width that reads well."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

_WIDEST = 100
_NARROWEST = 40
_FIRST_COLUMN = re.compile(r" *\S.*? {2,}")
_EXAMPLE = "  ml"
"""What is to be copied is never broken."""


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs; a line that is indented stays a line: a row of a table, or an example."""

    def __init__(self, prog: str) -> None:
        """Take the name of the program; argparse's own way to the width imports four compression libraries."""
        super().__init__(prog, width=terminal_width(sys.stdout))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = filled(_blocks(text.strip("\n")), width)
        return "".join(f"{indent}{line}\n" for line in lines)


def terminal_width(stream: TextIO) -> int:
    """Return how many columns a help on a stream may take."""
    columns = told_columns(stream)
    return max(_NARROWEST, min(columns, _WIDEST)) if columns > 0 else _WIDEST


def told_columns(stream: TextIO) -> int:
    """Return how many columns the user or the terminal says there are; 0 where nobody knows."""
    try:
        return max(0, int(os.environ.get("COLUMNS") or os.get_terminal_size(stream.fileno()).columns))
    except (OSError, ValueError):  # it is no terminal
        return 0


def filled(blocks: Iterable[str], width: int) -> Iterator[str]:
    """Yield lines that are not too long; of a row with two columns, the second stays a column."""
    import textwrap  # noqa: PLC0415 - only where help is shown

    for block in blocks:
        if block.startswith(_EXAMPLE):
            yield block
            continue
        found = _FIRST_COLUMN.match(block)
        gap = " " * (found.end() if found else 0)
        yield from textwrap.wrap(block, width, subsequent_indent=gap, break_on_hyphens=False) or [""]


def _blocks(text: str) -> Iterator[str]:
    """Yield what belongs together: a paragraph in one line, an indented line, an empty one."""
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
