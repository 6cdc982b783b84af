"""A terminal in memory: it shows what a program writes, with everything that scrolled away."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
from types import TracebackType
from typing import Self

from rich.cells import cell_len

_TOKEN = re.compile(r"\x1b\[(?P<numbers>[?0-9;]*)(?P<command>[A-Za-z])|(?P<char>.)", re.DOTALL)


class Screen:
    """The lines of a terminal. It knows the sequences that the program may use, and no others."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0
        self._wraps = True

    def feed(self, text: str) -> None:
        for token in _TOKEN.finditer(text):
            if token["char"] is not None:
                self._put(token["char"])
            else:
                self._obey(token["command"], token["numbers"])

    @property
    def text(self) -> str:
        """All lines, without the blanks at their ends."""
        lines = ["".join(line).rstrip() for line in self._lines]
        return "\n".join(lines).rstrip("\n")

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._column = 0
            self._move(1)
        else:
            width = cell_len(char)
            if width == 0:  # it belongs to the character before
                self._lines[self._row][-1] += char
                return
            if self._column + width > self.columns:
                if not self._wraps:
                    return
                self._put("\n")
            line = self._lines[self._row]
            line += [" "] * (self._column - len(line))
            line[self._column : self._column + width] = [char, *[""] * (width - 1)]
            self._column += width

    def _move(self, rows: int) -> None:
        self._row += rows
        while len(self._lines) <= self._row:
            self._lines.append([])

    def _obey(self, command: str, numbers: str) -> None:
        count = int(numbers) if numbers.isdigit() else 1
        top = max(0, len(self._lines) - self.rows)
        if command == "A":
            self._row = max(top, self._row - count)
        elif command == "B":
            self._row = min(len(self._lines) - 1, self._row + count)
        elif command in "JK":
            del self._lines[self._row][self._column :]
            if command == "J":
                for line in self._lines[self._row + 1 :]:
                    line.clear()
        elif command in "hl" and numbers == "?7":
            self._wraps = command == "h"
        else:
            assert command == "m", f"unknown sequence {numbers}{command}"


class ScreenStream(io.StringIO):
    """A stream on a terminal of a size, and the screen that it shows."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self.screen = Screen(columns, rows)
        self._pair = pty.openpty()
        self.resize(columns, rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in self._pair:
            os.close(number)
        super().__exit__(kind, error, traceback)

    def __enter__(self) -> Self:
        return self

    def resize(self, columns: int, rows: int) -> None:
        """Change the size. The lines stay as they are, as in a terminal that wraps nothing again."""
        self.screen.columns, self.screen.rows = columns, rows
        fcntl.ioctl(self._pair[1], termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._pair[1]

    def write(self, text: str) -> int:
        self.screen.feed(text)
        return super().write(text)
