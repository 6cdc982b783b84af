"""Reasoning: telling what a model thinks from what it answers, by the marks that its template and tokenizer use."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mlxknife.domain.model.generation import Markers, Piece, PieceKind
from mlxknife.domain.rules.stop import StopWatch

_FAMILIES = (
    ("<think>", "</think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<|channel>thought", "<channel|>"),
)
_CHANNELS = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>")
"""The marks of gpt-oss, whose every message names its channel."""
_TURN = "<|start|>assistant"


def markers(vocabulary: Collection[str], template: str, prompt: str) -> Markers | None:
    """Return the marks of a model, or None for one that does not reason aloud.

    A mark counts when it is a token of its own or stands in the chat template. A prompt that ends with an open mark has
    begun the reasoning.
    """
    if all(mark in vocabulary for mark in _CHANNELS):
        thoughts = ("<|channel|>analysis<|message|>", "<|channel|>commentary<|message|>")
        answer = "<|channel|>final<|message|>"
        return Markers(
            begins=(*thoughts, *(_TURN + mark for mark in thoughts)), end="<|end|>", answers=(answer, _TURN + answer)
        )
    for begin, end in _FAMILIES:
        mark = begin.removesuffix("thought")
        if (mark in vocabulary and end in vocabulary) or (begin in template and end in template):
            return Markers((begin,), end, begins_inside=prompt.rstrip().endswith(begin))
    return None


class Splitter:
    """Splits text as it comes; the marks themselves are shown to nobody.

    Reasoning begins at the start of the text, or after other reasoning, never in the middle of an answer.
    """

    def __init__(self, marks: Markers | None) -> None:
        """Take the marks, or None where everything is answer."""
        self._marks = marks
        self._inside = marks is not None and marks.begins_inside
        self._answered = marks is None
        self._held = ""
        self._trims = True

    def feed(self, text: str) -> Iterator[Piece]:
        """Yield what is certain by now."""
        self._held += text
        while self._held and (piece := self._next()) is not None:
            if piece.text:
                yield piece

    def flush(self) -> Iterator[Piece]:
        """Yield what was held back, because nothing more will come."""
        text, self._held = self._trimmed(self._held), ""
        if self._inside:
            text = text.rstrip()
        if text:
            yield Piece(PieceKind.REASONING if self._inside else PieceKind.ANSWER, text)

    def _next(self) -> Piece | None:
        """Return the next piece, an empty one where only the state changed, or None where more must come first."""
        if self._marks is None or self._answered:
            text, self._held = self._trimmed(self._held), ""
            return Piece(PieceKind.ANSWER, text)
        return self._thought(self._marks) if self._inside else self._beginning(self._marks)

    def _thought(self, marks: Markers) -> Piece | None:
        watch = StopWatch((marks.end,))
        text = watch.feed(self._held)
        if watch.has_stopped:
            self._held = self._held[len(text) + len(marks.end) :]
            self._inside = False
            piece = Piece(PieceKind.REASONING, self._trimmed(text).rstrip())
            self._trims = True
            return piece
        shown = text.rstrip()  # what ends the reasoning is seen only when more comes
        self._held = self._held[len(shown) :]
        return Piece(PieceKind.REASONING, self._trimmed(shown)) if shown else None

    def _beginning(self, marks: Markers) -> Piece | None:
        """Decide, at the start of a part, whether reasoning begins or the answer."""
        start = self._held.lstrip()
        found = next((mark for mark in (*marks.begins, *marks.answers) if start.startswith(mark)), None)
        if found is not None:
            self._held = start[len(found) :]
            self._inside = found in marks.begins
            self._answered = not self._inside
            self._trims = True
            return Piece(PieceKind.REASONING, "")
        if any(mark.startswith(start) for mark in (*marks.begins, *marks.answers)):
            return None
        self._answered = True
        return Piece(PieceKind.ANSWER, "")

    def _trimmed(self, text: str) -> str:
        """Return a text without the blank lines between a mark and it."""
        if self._trims and self._marks is not None:
            text = text.lstrip()
            self._trims = not text
        return text
