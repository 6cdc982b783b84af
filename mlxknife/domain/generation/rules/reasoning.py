"""Reasoning: telling what a model thinks from what it answers, by the marks that its template and tokenizer use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import attrs

from mlxknife.domain.generation.rules.stop_strings import StopWatch
from mlxknife.domain.generation.values.generation import Markers, Piece, PieceKind

_FAMILIES = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<|channel>thought", "<channel|>"),
)
_RESPONSES = {"<|START_THINKING|>": ("<|START_RESPONSE|>", "<|END_RESPONSE|>")}
"""What stands around the answer of a family that marks that too."""
_CHANNELS = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>")
"""The marks of gpt-oss, where every message has a header: who speaks, to whom, in which channel, in which form."""
_HEADED = Markers(begins=("<|start|>", "<|channel|>", "<|message|>", "to="), end="<|end|>")
"""What a header begins with (the prompt has begun the first one), and what ends a message."""
_HEADER_ENDS = "<|message|>"
_LONGEST_HEADER = 256
_TO_THE_USER = ("", "commentary", "final")
"""The channels that are shown: commentary is for the user, too, where it names no tool that it goes to."""


@attrs.frozen
class _Part:
    """A part of a text: what it is, and the mark that ends it; without one it is all that follows."""

    kind: PieceKind
    end: str | None = None


_REST = _Part(PieceKind.ANSWER)


def markers(vocabulary: Collection[str], template: str, prompt: str) -> Markers | None:
    """Return the marks of a model, or None for one that does not reason aloud.

    A mark counts when it is a token of its own or stands in the chat template. A prompt that ends with an open mark has
    begun the reasoning.
    """
    if all(mark in vocabulary for mark in _CHANNELS):
        return _HEADED
    for begin, end in _FAMILIES:
        mark = begin.removesuffix("thought")
        if (mark in vocabulary and end in vocabulary) or (begin in template and end in template):
            answers = _RESPONSES.get(begin, ())[:1]
            return Markers((begin,), end, answers, begins_inside=prompt.rstrip().endswith(begin))
    return None


class Splitter:
    """Splits text as it comes; the marks themselves are shown to nobody.

    Reasoning begins at the start of the text, or after another part, never in the middle of an answer. Between two
    parts of the same kind stands a blank line.
    """

    def __init__(self, marks: Markers | None) -> None:
        """Take the marks, or None where everything is answer."""
        self._marks = marks
        self._part = _REST if marks is None else None
        """What the text is in, or None where the next part has yet to show what it is."""
        if marks is not None and marks.begins_inside:
            self._part = _Part(PieceKind.REASONING, marks.end)
        self._held = ""
        self._trims = marks is not None
        self._told: set[PieceKind] = set()
        self._gap = ""

    def feed(self, text: str) -> Iterator[Piece]:
        """Yield what is certain by now."""
        self._held += text
        while self._held and (piece := self._next()) is not None:
            if piece.text:
                yield piece

    def flush(self) -> Iterator[Piece]:
        """Yield what was held back, because nothing more will come."""
        text, self._held = self._held, ""
        if self._part is None and self._marks is not None and _begins_header(self._marks, text.lstrip()):
            return
        part = self._part or _REST
        piece = self._piece(part, text.rstrip() if part.kind is PieceKind.REASONING else text)
        if piece.text:
            yield piece

    def _next(self) -> Piece | None:
        """Return the next piece, an empty one where only the state changed, or None where more must come first."""
        if self._part is None:
            return self._opened(self._marks) if self._marks is not None else None
        if self._part.end is None:
            text, self._held = self._held, ""
            return self._piece(self._part, text)
        return self._within(self._part, self._part.end)

    def _within(self, part: _Part, end: str) -> Piece | None:
        watch = StopWatch((end,))
        text = watch.feed(self._held)
        is_thought = part.kind is PieceKind.REASONING
        if watch.has_stopped:
            self._held = self._held[len(text) + len(end) :]
            piece = self._piece(part, text.rstrip() if is_thought else text)
            self._enter(None)
            return piece
        shown = text.rstrip() if is_thought else text  # what ends the reasoning is seen only when more comes
        self._held = self._held[len(shown) :]
        return self._piece(part, shown) if shown else None

    def _opened(self, marks: Markers) -> Piece | None:
        """Enter the part that begins here, once it is certain which."""
        start = self._held.lstrip()
        opening = _header(start) if marks == _HEADED else _mark(marks, start)
        if opening is None:
            return None
        length, part = opening
        self._held = start[length:]
        self._enter(part)
        return Piece(part.kind, "")

    def _enter(self, part: _Part | None) -> None:
        self._part = part
        self._trims = True
        self._gap = "\n\n" if part is not None and part.kind in self._told else ""

    def _piece(self, part: _Part, text: str) -> Piece:
        """Return a piece without the blank lines between a mark and it, and apart from what was told before."""
        if self._trims:
            text = text.lstrip()
            self._trims = not text
        if text:
            text, self._gap = self._gap + text, ""
            self._told.add(part.kind)
        return Piece(part.kind, text)


def _mark(marks: Markers, start: str) -> tuple[int, _Part] | None:
    """Return how long the mark at the start of a text is and what it begins, or None where more must come first."""
    kinds = dict.fromkeys(marks.begins, _Part(PieceKind.REASONING, marks.end))
    ends = dict(_RESPONSES.values())
    kinds |= {mark: _Part(PieceKind.ANSWER, ends.get(mark)) for mark in marks.answers}
    for mark, part in kinds.items():
        if start.startswith(mark):
            return len(mark), part
    return None if any(mark.startswith(start) for mark in kinds) else (0, _REST)


def _header(start: str) -> tuple[int, _Part] | None:
    """Return how long the header at the start of a text is and what it begins, or None where more must come first."""
    place = start.find(_HEADER_ENDS, 0, _LONGEST_HEADER)
    if _begins_header(_HEADED, start) and place >= 0:
        kind = PieceKind.ANSWER if _is_for_user(start[:place]) else PieceKind.REASONING
        return place + len(_HEADER_ENDS), _Part(kind, _HEADED.end)
    may_begin = _begins_header(_HEADED, start) or any(mark.startswith(start) for mark in _HEADED.begins)
    return None if may_begin and len(start) < _LONGEST_HEADER else (0, _REST)


def _begins_header(marks: Markers, start: str) -> bool:
    return marks == _HEADED and start.startswith(marks.begins)


def _is_for_user(header: str) -> bool:
    """Whether the assistant says it, in a channel that is shown, and to nobody else by name."""
    speaker, _, rest = header.partition("<|channel|>")
    is_ours = not speaker.startswith("<|start|>") or re.match(r"<\|start\|>assistant\b", speaker) is not None
    channel = re.split(r"[\s<]", rest, maxsplit=1)[0]
    return is_ours and channel in _TO_THE_USER and re.search(r"\bto=", header) is None
