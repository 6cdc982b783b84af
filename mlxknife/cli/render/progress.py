"""A progress bar: bytes done, rate and time to go, on one line that is gone when the work is."""

from __future__ import annotations

import threading
import time
from typing import TextIO

from mlxknife.cli.render import units

_REDRAW_SECONDS = 0.1
_WIDTH = 24
_CLEAR = "\r\x1b[K"


class Bar:
    """Draws on a terminal; may be told from several threads."""

    def __init__(self, stream: TextIO) -> None:
        """Take the stream of the terminal."""
        self._stream = stream
        self._lock = threading.Lock()
        self._label = ""
        self._total = self._done = 0
        self._began = self._drawn = 0.0

    def begin(self, label: str, total_bytes: int) -> None:
        """See ``Progress.begin``."""
        self._label, self._total, self._done = label, total_bytes, 0
        self._began = self._drawn = time.monotonic()

    def advance(self, count: int) -> None:
        """See ``Progress.advance``."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._drawn >= _REDRAW_SECONDS:
                self._drawn = now
                self._stream.write(_CLEAR + line(self._label, self._done, self._total, now - self._began))
                self._stream.flush()

    def end(self) -> None:
        """See ``Progress.end``."""
        with self._lock:
            self._stream.write(_CLEAR)
            self._stream.flush()


def line(label: str, done: int, total: int, seconds: float) -> str:
    """Return the line for a state of the work."""
    share = min(1.0, done / total) if total else 1.0
    filled = int(share * _WIDTH)
    rate = done / seconds if seconds > 0 else 0.0
    to_go = f", {units.duration((total - done) / rate)} to go" if rate > 0 and done < total else ""
    bar = "#" * filled + "." * (_WIDTH - filled)
    return f"{label} [{bar}] {share:4.0%} of {units.size(total)}, {units.size(int(rate))}/s{to_go}"
