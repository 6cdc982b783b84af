"""What comes from one source, kept for each of several programs until it has taken it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import IO

from mlxknife.adapters.process.children import Child
from mlxknife.domain.errors import StorageError

_CHUNK = 65536
_AHEAD = 100 * 1000 * 1000
"""How far the source may be read ahead of a program that runs: what does not read at all shall not fill the memory."""


class Feed:
    """The backlog of every program, running or not; a chunk that several wait for is held once."""

    def __init__(self, source: IO[bytes] | None, count: int) -> None:
        """Take the source, and the number of programs that are to have it."""
        self._source = source.fileno() if source is not None else None
        self._backlogs: dict[int, deque[memoryview]] = {number: deque() for number in range(count)}
        self._sizes = dict.fromkeys(self._backlogs, 0)

    def wanted(self, running: Iterable[int]) -> int | None:
        """Return the source while it has more and somebody wants it; None while a running program is far behind."""
        if not self._backlogs or any(self._sizes.get(number, 0) > _AHEAD for number in running):
            return None
        return self._source

    def read(self) -> None:
        """Take what the source has now. Raises StorageError."""
        if self._source is None:
            return
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:  # somebody else took it
            return
        except OSError as exc:
            msg = f"stdin cannot be read: {exc.strerror}"
            raise StorageError(msg) from exc
        if not data:
            self._source = None
        for number, backlog in self._backlogs.items():
            if data:
                backlog.append(memoryview(data))
                self._sizes[number] += len(data)

    def has_more(self, child: Child) -> bool:
        """Tell whether something is there that a program has not taken."""
        return bool(self._backlogs.get(child.number))

    def give(self, child: Child) -> None:
        """Give a program as much of its backlog as it takes at once."""
        backlog = self._backlogs.get(child.number)
        if not backlog:
            return
        try:
            count = child.write(backlog[0])
        except BrokenPipeError:
            self.drop(child)
            return
        self._sizes[child.number] -= count
        backlog[0] = backlog[0][count:]
        if not backlog[0]:
            backlog.popleft()

    def settle(self, child: Child) -> None:
        """Tell a program that it has everything, if so."""
        if self._source is None and not self.has_more(child):
            self.drop(child)

    def drop(self, child: Child) -> None:
        """Keep nothing more for a program."""
        child.close_input()
        self.skip(child.number)

    def skip(self, number: int) -> None:
        """Keep nothing for a program that could not be started."""
        self._backlogs.pop(number, None)
        self._sizes.pop(number, None)
