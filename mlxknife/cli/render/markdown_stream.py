"""Draws Markdown on a terminal while it arrives.

Finished blocks are printed once and stay. Only the open rest is drawn again, in at most one screen, and only from its
first line that changed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TextIO

import attrs
from rich.cells import cell_len

from mlxknife.cli.render.markdown_blocks import Block, BlockKind, BlockSplitter
from mlxknife.cli.render.markdown_lines import MarkdownRenderer
from mlxknife.cli.render.terminal import screen_size
from mlxknife.cli.render.text import terminal_safe

_CLEAR_LINE = "\r\x1b[K"
_CLEAR_BELOW = "\x1b[B\x1b[J\x1b[A"
"""Clears the lines below that of the cursor. Where all of a screen is cleared, tmux keeps a copy of it."""
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"
"""A line of the rest that is wider than it was measured is cut off, so that the number of lines is always known."""
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
_UNDECIDED = re.compile(r"[ \t]*(?:[-=*_~`#>+|: \t]*|\d+[.)]?)")
"""A line that may become anything: it is not drawn yet."""
_IDLE_SHARE = 4
"""The rest is drawn again after this many times the time that drawing took, so that it takes a fifth of the time."""


class MarkdownStream:
    """One text on a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the stream of the terminal, whose cursor is at the beginning of a line."""
        self._stream = stream
        self._clock = clock
        self._splitter = BlockSplitter()
        self._renderer = MarkdownRenderer()
        self._drawn: list[str] = []
        """The lines of the rest that are on the screen. The cursor is in the last of them."""
        self._columns = 0
        """The width with which they were drawn."""
        self._last: BlockKind | None = None
        """The kind of the last block that printed something."""
        self._next_draw = 0.0
        self._is_writing = False

    def write(self, text: str) -> None:
        """Take a piece of the text, and draw what is new. Raises OSError."""
        began = self._clock()
        finished = self._print(self._splitter.feed(terminal_safe(text)))
        if finished or began >= self._next_draw:
            self._draw(finished, self._rest_lines())
            ended = self._clock()
            self._next_draw = ended + _IDLE_SHARE * (ended - began)

    def end(self) -> None:
        """Print the rest, and move the cursor to the beginning of a line. Raises OSError."""
        self._draw(self._print(self._splitter.finish()), [])

    def pause(self) -> None:
        """Remove the rest from the screen, before a shell uses it. Raises OSError."""
        if not self._is_writing:  # the signal handler that calls this may interrupt a write
            self._draw([], [])
        self._drawn = []

    def resume(self) -> None:
        """Draw the rest again. Raises OSError."""
        if not self._is_writing:
            self._draw([], self._rest_lines())

    def _print(self, blocks: list[Block]) -> list[str]:
        """Return the lines of finished blocks."""
        lines = list[str]()
        columns, _ = self._size()
        for block in blocks:
            rendered = self._renderer.finished(block, columns)
            lines += self._spaced(block, rendered)
            self._last = block.kind if rendered else self._last
        return lines

    def _rest_lines(self) -> list[str]:
        """Return the last lines of the rest, as many as the screen has."""
        rest, line = self._splitter.rest, self._splitter.line
        columns, rows = self._size()
        if _UNDECIDED.fullmatch(line):
            rest = _without_end(rest, len(line))
        if not rest.text.strip():
            return []
        return self._spaced(rest, self._renderer.rest(rest, columns))[-rows:]

    def _spaced(self, block: Block, lines: list[str]) -> list[str]:
        """Return the lines of a block after those before it, with an empty line where one belongs."""
        if not lines or self._last is None or block.continues:
            return lines
        is_code = BlockKind.FENCED_CODE in (block.kind, self._last)
        return ["", *lines] if block.has_gap or is_code else lines

    def _draw(self, finished: list[str], rest: list[str]) -> None:
        """Print finished lines in the place of the rest on the screen, and the new rest below them."""
        columns, rows = self._size()
        lines, drawn = [*finished, *rest], self._drawn
        same = self._unchanged(lines, len(finished)) if columns == self._columns else 0
        if rest and same == len(lines) < len(drawn):
            same -= 1  # the cursor belongs at the end of the last line
        output = ""
        if same < len(drawn):
            up = min(sum(_height(line, columns + 1) for line in drawn[same:]) - 1, rows)
            output = f"\x1b[{up}A{_CLEAR_LINE}{_CLEAR_BELOW}" if up else _CLEAR_LINE
        elif drawn and (same < len(lines) or not rest):
            output = "\n"
        output += "".join(f"{line}\n" for line in lines[same : len(finished)])
        if open_lines := lines[max(same, len(finished)) :]:
            output += _WRAP_OFF + "\n".join(open_lines) + _WRAP_ON
        self._drawn, self._columns = rest, columns
        if output:
            self._write(output)

    def _unchanged(self, lines: list[str], finished: int) -> int:
        """Return how many lines on the screen can stay, counted from the first."""
        same = 0
        for before, line in zip(self._drawn, lines, strict=False):
            is_exact = same >= finished or line.isascii()  # a wide line of the rest may have been cut off
            if before != line or not is_exact:
                break
            same += 1
        return same

    def _size(self) -> tuple[int, int]:
        """Return the columns and rows that are used: one less than the terminal has."""
        columns, rows = screen_size(self._stream)
        return max(1, columns - 1), max(1, rows - 1)

    def _write(self, text: str) -> None:
        self._is_writing = True
        try:
            self._stream.write(text)
            self._stream.flush()
        finally:
            self._is_writing = False


def _height(line: str, columns: int) -> int:
    """Return the rows that a drawn line takes after the terminal has changed its width."""
    return max(1, -(-cell_len(_ESCAPE_SEQUENCE.sub("", line)) // columns))


def _without_end(block: Block, characters: int) -> Block:
    return attrs.evolve(block, text=block.text[: len(block.text) - characters])
