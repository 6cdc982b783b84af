"""Progress on a terminal: the files under way, then bytes done, rate and time to go; gone when the work is."""

from __future__ import annotations

import os
import threading
import time
from typing import TextIO

from mlxknife.cli.render import units
from mlxknife.domain.text.rules import display
from mlxknife.ports.system.progress import NoProgress

_REDRAW_SECONDS = 0.1
_WIDTH = 24
_NAME = 40
_FILES_SHOWN = 8
_TO_FIRST_COLUMN = "\r"
_CLEAR_BELOW = "\x1b[J"


class Remarks(NoProgress):
    """Tells, where nothing can be drawn, only what somebody wonders about."""

    def __init__(self, stream: TextIO) -> None:
        """Take the stream for remarks."""
        self._stream = stream

    def wait(self, reason: str) -> None:
        """See ``Progress.wait``."""
        self._stream.write(f"{reason}\n")
        self._stream.flush()


class Bar:
    """Draws on a terminal; may be told from several threads."""

    def __init__(self, stream: TextIO) -> None:
        """Take the stream of the terminal."""
        self._stream = stream
        self._lock = threading.Lock()
        self._label = ""
        self._total = self._done = self._drawn_lines = 0
        self._began = self._drawn = 0.0
        self._files: dict[str, tuple[int, int]] = {}

    def begin(self, label: str, total_bytes: int) -> None:
        """See ``Progress.begin``."""
        self._label, self._total, self._done = label, total_bytes, 0
        self._began = self._drawn = time.monotonic()

    def begin_file(self, name: str, size: int, done: int) -> None:
        """See ``Progress.begin_file``."""
        with self._lock:
            self._files[name] = (done, size)

    def advance(self, count: int, file: str | None = None) -> None:
        """See ``Progress.advance``."""
        with self._lock:
            self._done += count
            if file in self._files:
                done, size = self._files[file]
                self._files[file] = (done + count, size)
            now = time.monotonic()
            if now - self._drawn >= _REDRAW_SECONDS:
                self._drawn = now
                self._draw(now - self._began)

    def end_file(self, name: str) -> None:
        """See ``Progress.end_file``."""
        with self._lock:
            self._files.pop(name, None)

    def wait(self, reason: str) -> None:
        """See ``Progress.wait``."""
        with self._lock:
            self._stream.write(f"{self._to_the_top()}{_CLEAR_BELOW}{reason}\n")
            self._stream.flush()
            self._drawn_lines = 0

    def end(self) -> None:
        """See ``Progress.end``."""
        with self._lock:
            self._stream.write(self._to_the_top() + _CLEAR_BELOW)
            self._stream.flush()
            self._drawn_lines = 0

    def _draw(self, seconds: float) -> None:
        columns = _columns(self._stream) - 1
        shown = list(self._files.items())[:_FILES_SHOWN]
        lines = [file_line(name, done, size, columns) for name, (done, size) in shown]
        lines.append(line(self._label, self._done, self._total, seconds)[:columns])
        self._stream.write(self._to_the_top() + _CLEAR_BELOW + "\n".join(lines))
        self._stream.flush()
        self._drawn_lines = len(lines)

    def _to_the_top(self) -> str:
        up = self._drawn_lines - 1
        return _TO_FIRST_COLUMN + (f"\x1b[{up}A" if up > 0 else "")


def line(label: str, done: int, total: int, seconds: float) -> str:
    """Return the line for a state of the whole work."""
    share = min(1.0, max(0, done) / total) if total else 1.0
    rate = done / seconds if seconds > 0 else 0.0
    to_go = f", {units.duration((total - done) / rate)} to go" if rate > 0 and done < total else ""
    return f"{label} [{_bar(share)}] {share:4.0%} of {display.size(total)}, {display.size(int(max(0, rate)))}/s{to_go}"


def file_line(name: str, done: int, size: int, columns: int) -> str:
    """Return the line for one file, with as much of its name as fits."""
    share = min(1.0, done / size) if size else 1.0
    state = f" [{_bar(share)}] {share:4.0%} of {display.size(size)}"
    room = max(0, min(_NAME, columns - len(state) - 2))
    shown = display.visible(name)
    while display.width(shown) > room and shown:
        shown = f"...{shown[4:]}" if shown.startswith("...") else f"...{shown[3:]}"
        if display.width(shown) <= 3:  # noqa: PLR2004 - no room for any of it
            shown = ""
    padding = " " * (room - display.width(shown))
    return f"  {shown}{padding}{state}"[:columns] if shown.isascii() else f"  {shown}{padding}{state}"


def _bar(share: float) -> str:
    filled = int(share * _WIDTH)
    return "#" * filled + "." * (_WIDTH - filled)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
