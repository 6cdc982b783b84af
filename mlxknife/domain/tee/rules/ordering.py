"""Turns: what many say at the same time, told one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from mlxknife.domain.tee.values import Ended, Heard, Turn


class InTurn:
    """Puts what is heard of jobs into the order of the jobs.

    Whoever's turn it is is heard as it speaks; what others say in the meantime is kept until it is theirs.
    """

    def __init__(self, count: int) -> None:
        """Take the number of jobs."""
        self._kept: list[list[Heard]] = [[] for _ in range(count)]
        self._now = -1

    def begin(self) -> Iterator[Turn | Heard]:
        """Yield whose turn is the first."""
        yield from self._next()

    def hear(self, heard: Heard) -> Iterator[Turn | Heard]:
        """Take one thing more; yield what can be told now."""
        if heard.number != self._now:
            self._kept[heard.number].append(heard)
            return
        yield heard
        if isinstance(heard, Ended):
            yield from self._next()

    def _next(self) -> Iterator[Turn | Heard]:
        self._now += 1
        while self._now < len(self._kept):
            yield Turn(self._now)
            kept, self._kept[self._now] = self._kept[self._now], []
            yield from kept
            if not (kept and isinstance(kept[-1], Ended)):
                return
            self._now += 1
