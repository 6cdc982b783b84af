"""Telling an answer as its text comes: reasoning at once, the answer until a stop string."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxknife.domain.generation.rules.reasoning import Splitter
from mlxknife.domain.generation.rules.stop_strings import StopWatch
from mlxknife.domain.generation.values.generation import Markers, Piece, PieceKind


class Telling:
    """One answer on its way; the pieces that it yields are the same however its text was cut."""

    def __init__(self, marks: Markers | None, stops: Sequence[str]) -> None:
        """Take the marks of reasoning, or None where everything is answer, and the strings that end an answer."""
        self._is_plain = marks is None and not any(stops)
        self._splitter = Splitter(marks)
        self._watch = StopWatch(stops)
        self._held = 0
        """How many characters at the end of the answer are not shown, or not yet."""
        self.heard = 0
        """How many characters of reasoning and answer there were; counted where there are stop strings."""
        self.shown = 0
        """How many of them are shown: from here on nothing is, or nothing yet."""

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string came."""
        return self._watch.has_stopped

    def hear(self, text: str) -> Iterator[Piece]:
        """Yield what is certain by now."""
        if self._is_plain:
            if text:
                yield Piece(PieceKind.ANSWER, text)
            return
        for piece in self._splitter.feed(text):
            yield from self._shown(piece)

    def rest(self) -> Iterator[Piece]:
        """Yield what was held back, because nothing more will come."""
        for piece in self._splitter.flush():
            yield from self._shown(piece)
        held = self._watch.flush()
        if held:
            self.shown, self._held = self.heard, 0
            yield Piece(PieceKind.ANSWER, held)

    def _shown(self, piece: Piece) -> Iterator[Piece]:
        size = len(piece.text)
        self.heard += size
        if piece.kind is PieceKind.ANSWER:
            piece = Piece(piece.kind, self._watch.feed(piece.text))
            self._held += size - len(piece.text)
            if self._held <= size:
                self.shown = self.heard - self._held
            else:  # what is held began before this piece
                self.shown += len(piece.text)
        elif not self._held:
            self.shown = self.heard
        if piece.text:
            yield piece
