"""Programs that do in memory what a test says they do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import IO

import attrs

from mlxknife.domain.errors import StorageError
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputChunk

Script = Callable[[bytes], tuple[bytes, bytes, int]]
"""What a program makes of its input: stdout, stderr, status."""


@attrs.define
class FakePrograms:
    """Fulfils ``ports.programs``; whoever is not in ``scripts`` is not there to be started."""

    scripts: Mapping[tuple[str, ...], Script] = attrs.field(factory=dict)
    piece: int = 3
    """How many bytes are said at once."""
    given: list[tuple[bytes, bool]] = attrs.field(factory=list)
    """The input of every run, and whether it was side by side."""
    running: set[int] = attrs.field(factory=set)

    def run(
        self, programs: Sequence[Sequence[str]], source: IO[bytes] | None, *, side_by_side: bool
    ) -> Generator[CommandEvent]:
        data = _all(source)
        self.given.append((data, side_by_side))
        said = [self._said(number, tuple(words), data) for number, words in enumerate(programs)]
        try:
            if side_by_side:
                yield from (heard for row in zip_longest(*said) for heard in row if heard is not None)
            else:
                yield from chain.from_iterable(said)
        finally:
            self.running.clear()

    def _said(self, number: int, words: tuple[str, ...], data: bytes) -> Iterator[CommandEvent]:
        self.running.add(number)
        script = self.scripts.get(words)
        out, err, status = script(data) if script else (b"", f"{words[0]}: command not found\n".encode(), 127)
        for text, is_error in ((out, False), (err, True)):
            for start in range(0, len(text), self.piece):
                yield OutputChunk(number, text[start : start + self.piece], is_error)
        self.running.discard(number)
        yield CommandExited(number, status, 0.5)


def _all(source: IO[bytes] | None) -> bytes:
    try:
        return source.read() if source is not None else b""
    except OSError as exc:
        msg = f"stdin cannot be read: {exc.strerror}"
        raise StorageError(msg) from exc
