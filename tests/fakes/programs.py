"""Programs that a test scripts, without processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import IO

import attrs

from mlxknife.domain.errors import StorageError
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputChunk

Script = Callable[[bytes], tuple[bytes, bytes, int]]
"""Returns stdout, stderr and the exit status for an input."""


@attrs.define
class FakePrograms:
    """Fulfils ``Programs``. A program that is not in ``scripts`` is not found."""

    scripts: Mapping[tuple[str, ...], Script] = attrs.field(factory=dict)
    chunk: int = 3
    """The bytes of one output event."""
    runs: list[tuple[bytes, bool]] = attrs.field(factory=list)
    """The input of every run, and whether its programs ran side by side."""
    running: set[int] = attrs.field(factory=set)

    def run(
        self, programs: Sequence[Sequence[str]], source: IO[bytes] | None, *, side_by_side: bool
    ) -> Generator[CommandEvent]:
        data = _read_all(source)
        self.runs.append((data, side_by_side))
        events = [self._events(number, tuple(words), data) for number, words in enumerate(programs)]
        try:
            if side_by_side:
                yield from (event for row in zip_longest(*events) for event in row if event is not None)
            else:
                yield from chain.from_iterable(events)
        finally:
            self.running.clear()

    def _events(self, number: int, words: tuple[str, ...], data: bytes) -> Iterator[CommandEvent]:
        self.running.add(number)
        script = self.scripts.get(words)
        out, err, status = script(data) if script else (b"", f"{words[0]}: command not found\n".encode(), 127)
        for text, is_error in ((out, False), (err, True)):
            for start in range(0, len(text), self.chunk):
                yield OutputChunk(number, text[start : start + self.chunk], is_error)
        self.running.discard(number)
        yield CommandExited(number, status, 0.5)


def _read_all(source: IO[bytes] | None) -> bytes:
    try:
        return source.read() if source is not None else b""
    except OSError as exc:
        msg = f"stdin cannot be read: {exc.strerror}"
        raise StorageError(msg) from exc
