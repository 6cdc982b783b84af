"""The input of several programs: all bytes of one source, kept for each program until it has read them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import IO

from mlxknife.adapters.process.child_process import ChildProcess
from mlxknife.domain.filesystem_errors import filesystem_error

_CHUNK = 65536
_MAX_BACKLOG = 100 * 1000 * 1000
"""The bytes that a running program may lag behind: a program that reads nothing must not fill the memory."""


class InputFanout:
    """The backlog of every program, running or not. A chunk that several programs still need is held once."""

    def __init__(self, source: IO[bytes] | None, count: int) -> None:
        """Take the source and the number of programs that read it."""
        self._source = source.fileno() if source is not None else None
        self._backlogs: dict[int, deque[memoryview]] = {number: deque() for number in range(count)}
        self._sizes = dict.fromkeys(self._backlogs, 0)

    def readable_source(self, running: Iterable[int]) -> int | None:
        """Return the descriptor to read from, or None at its end, without readers, or while one lags too far behind."""
        if not self._backlogs or any(self._sizes.get(number, 0) > _MAX_BACKLOG for number in running):
            return None
        return self._source

    def read(self) -> None:
        """Add the next chunk of the source to every backlog. Raises StorageError."""
        if self._source is None:
            return
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:  # another process has read it
            return
        except OSError as exc:
            raise filesystem_error(exc, "stdin cannot be read") from exc
        if not data:
            self._source = None
        for number, backlog in self._backlogs.items():
            if data:
                backlog.append(memoryview(data))
                self._sizes[number] += len(data)

    def has_backlog(self, child: ChildProcess) -> bool:
        """Return whether a program has not read everything yet that the source gave."""
        return bool(self._backlogs.get(child.number))

    def write(self, child: ChildProcess) -> None:
        """Write as much of a program's backlog to it as it takes without blocking."""
        backlog = self._backlogs.get(child.number)
        if not backlog:
            return
        try:
            count = child.write(backlog[0])
        except BrokenPipeError:
            self.close(child)
            return
        self._sizes[child.number] -= count
        backlog[0] = backlog[0][count:]
        if not backlog[0]:
            backlog.popleft()

    def close_if_complete(self, child: ChildProcess) -> None:
        """Close the stdin of a program that has been given the whole source."""
        if self._source is None and not self.has_backlog(child):
            self.close(child)

    def close(self, child: ChildProcess) -> None:
        """Close the stdin of a program and drop its backlog."""
        child.close_stdin()
        self.drop(child.number)

    def drop(self, number: int) -> None:
        """Drop the backlog of a program that could not be started."""
        self._backlogs.pop(number, None)
        self._sizes.pop(number, None)
