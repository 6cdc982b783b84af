"""The output of a model process: a limited number of lines go into the log, and the tail is kept for crash errors."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import IO

_CHUNK = 65536
_KEPT = 4096
_MAX_LINE = 1000
_LINES = 50
"""The lines that are logged until ``allow_more``."""
_LOG = logging.getLogger("mlxknife.worker")


class StderrTail:
    """Reads the pipe of stdout and stderr on the running loop."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        """Take the reading end of the pipe."""
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe
        self._kept = bytearray()
        self._line = bytearray()
        self._lines_left = _LINES
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            self._loop.add_reader(pipe, self.read)

    def tail(self) -> str:
        """Return the end of the output."""
        kept = self._kept.decode("utf-8", "replace")
        if len(self._kept) == _KEPT:  # it may begin in the middle of a word
            kept = kept.partition(" ")[2]
        return kept.strip()

    def allow_more(self) -> None:
        """Allow more lines into the log."""
        self._lines_left = _LINES

    def read(self) -> None:
        """Read what has arrived."""
        if self._pipe is None:
            return
        try:
            data = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._kept += data
        del self._kept[:-_KEPT]
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._log(bytes(self._line[:_MAX_LINE]) + part)
            self._line.clear()
        if len(self._line) < _MAX_LINE:
            self._line += rest[:_MAX_LINE]

    def close(self) -> None:
        """Close the pipe. Closing twice is allowed."""
        if self._pipe is None:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._pipe)
        self._pipe.close()
        self._pipe = None
        if self._line:
            self._log(bytes(self._line))

    def _log(self, line: bytes) -> None:
        text = line[:_MAX_LINE].decode("utf-8", "replace").rstrip()
        if not text or self._lines_left <= 0:
            return
        self._lines_left -= 1
        _LOG.info("%s", text)
