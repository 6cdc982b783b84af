"""A line about what takes long: not there at once, and wiped when it is over."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self, TextIO

from mlxknife.cli.render.text import room_on
from mlxknife.domain.text.rules import display

_PATIENCE = 1.0
"""Seconds after which somebody wonders."""
_WIPE = "\r\x1b[K"


class Waiting:
    """Shows a line on a terminal while its block takes longer than a moment."""

    def __init__(self, stream: TextIO, what: str, patience: float = _PATIENCE) -> None:
        """Take the stream, what is done, and the seconds until that is told."""
        self._stream = stream
        self._what = what
        self._lock = threading.Lock()
        self._is_over = self._is_shown = False
        self._timer = threading.Timer(patience, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Begin to wait."""
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wipe the line, if it came to that."""
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            if self._is_shown:
                self._stream.write(_WIPE)
                self._stream.flush()

    def _show(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._is_shown = True
            self._stream.write(_cut(f"{display.visible(self._what)} ...", room_on(self._stream)))
            self._stream.flush()


def _cut(text: str, room: int | None) -> str:
    """Return as much of a line as fits, so that one wipe takes it all away."""
    while room is not None and display.width(text) >= room and text:
        text = text[:-1]
    return text
