"""Progress on stderr: a bar with files, rate and ETA on a terminal, plain messages elsewhere, and a status line."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self, TextIO

from mlxknife.cli.render.terminal import line_width, screen_size
from mlxknife.cli.render.text import duration
from mlxknife.domain.text.rules import display
from mlxknife.ports.system.progress import NoProgress

_REDRAW_SECONDS = 0.1
_WIDTH, _NARROWEST = 24, 4
"""The widths of a bar."""
_AROUND_A_BAR = 53
"""The columns that the rest of the total line usually takes."""
_SPARE = 3
"""Columns left free in a line, so that ``^C``, as a terminal echoes it, begins no new one."""
_NAME_WIDTH = 40
_FILES_SHOWN = 8
_FIRST_ETA, _SHARE_FOR_ETA = 1.0, 0.01
"""Seconds, or the share of the work, after which the rate says how long the rest takes."""
_STATUS_DELAY = 1.0
"""Seconds before a status line appears."""
_TO_FIRST_COLUMN = "\r"
_CLEAR_BELOW = "\x1b[J"
_CLEAR_LINE = "\r\x1b[K"


class PlainProgress(NoProgress):
    """Progress for a stream that cannot redraw: it prints only why the work waits."""

    def __init__(self, stream: TextIO) -> None:
        """Take the stream for messages."""
        self._stream = stream

    def wait(self, reason: str) -> None:
        """See ``Progress.wait``."""
        self._stream.write(f"{reason}\n")
        self._stream.flush()


class ProgressBar:
    """Draws the bars of a work and of its current files, and clears them in ``end``. Threads may share it."""

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
        columns = screen_size(self._stream)[0] - _SPARE
        shown = list(self._files.items())[:_FILES_SHOWN]
        lines = [file_line(name, done, size, columns) for name, (done, size) in shown]
        lines.append(total_line(self._label, self._done, self._total, seconds, columns))
        self._stream.write(self._to_the_top() + _CLEAR_BELOW + "\n".join(lines))
        self._stream.flush()
        self._drawn_lines = len(lines)

    def _to_the_top(self) -> str:
        up = self._drawn_lines - 1
        return _TO_FIRST_COLUMN + (f"\x1b[{up}A" if up > 0 else "")


class StatusLine:
    """Shows a line on a terminal while its block runs, once it has run for a second, and clears it at the end."""

    def __init__(self, stream: TextIO, text: str, delay: float = _STATUS_DELAY) -> None:
        """Take the stream, the text, and the seconds until the line appears."""
        self._stream = stream
        self._text = text
        self._lock = threading.Lock()
        self._is_over = self._is_shown = False
        self._timer = threading.Timer(delay, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Start the timer."""
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Clear the line if it is shown."""
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            if self._is_shown:
                self._stream.write(_CLEAR_LINE)
                self._stream.flush()

    def _show(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._is_shown = True
            self._stream.write(_cut(f"{display.visible(self._text)} ...", line_width(self._stream)))
            self._stream.flush()


class CountLine:
    """Shows on a terminal how much is done while its block runs, and clears the line at the end."""

    def __init__(self, stream: TextIO, what: str) -> None:
        """Take the stream, and what is counted."""
        self._stream = stream
        self._what = what
        self._drawn = time.monotonic()

    def __enter__(self) -> Self:
        """Show nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Clear the line."""
        self._stream.write(_CLEAR_LINE)
        self._stream.flush()

    def count(self, done: int) -> None:
        """Show the number, but not more often than a reader can follow."""
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            self._stream.write(_CLEAR_LINE + _cut(f"{done:,} {self._what}", line_width(self._stream)))
            self._stream.flush()


def total_line(label: str, done: int, total: int, seconds: float, columns: int) -> str:
    """Return the line for the whole work: bar, share, size, rate and ETA."""
    share = min(1.0, max(0, done) / total) if total else 1.0
    rate = done / seconds if seconds > 0 else 0.0
    is_known = rate > 0 and done < total and (seconds >= _FIRST_ETA or share >= _SHARE_FOR_ETA)
    to_go = f", {duration((total - done) / rate)} to go" if is_known else ""
    state = f"{share:4.0%} of {display.size(total)}, {display.size(int(max(0, rate)))}/s{to_go}"
    return f"{label} [{_bar(share, columns)}] {state}"[:columns]


def file_line(name: str, done: int, size: int, columns: int) -> str:
    """Return the line for one file, with the end of its name if there is no space for the whole."""
    share = min(1.0, done / size) if size else 1.0
    state = f" [{_bar(share, columns)}] {share:4.0%} of {display.size(size)}"
    available = max(0, min(_NAME_WIDTH, columns - len(state) - 2))
    shown = display.visible(name)
    while display.width(shown) > available and shown:
        shown = f"...{shown[4:]}" if shown.startswith("...") else f"...{shown[3:]}"
        if display.width(shown) <= 3:  # noqa: PLR2004 - nothing of the name is left
            shown = ""
    padding = " " * (available - display.width(shown))
    return f"  {shown}{padding}{state}"[:columns] if shown.isascii() else f"  {shown}{padding}{state}"


def _bar(share: float, columns: int) -> str:
    width = max(_NARROWEST, min(_WIDTH, columns - _AROUND_A_BAR))
    filled = int(share * width)
    return "#" * filled + "." * (width - filled)


def _cut(text: str, columns: int | None) -> str:
    """Return the start of a text that is shorter than a line, so that one escape code clears it."""
    while columns is not None and display.width(text) >= columns and text:
        text = text[:-1]
    return text
