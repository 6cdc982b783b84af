"""A cursor in the text of an answer that is still being written.

A reading is a generator. It yields None where it needs more text, and goes on when the cursor has some or the text has
ended. Each character is looked at a bounded number of times, however the text is cut.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import TypeAlias, TypeVar

from mlxknife.domain.tools.rules.nesting import Nesting
from mlxknife.domain.tools.values import ToolCallDelta

_T = TypeVar("_T")
Reading: TypeAlias = Generator[str | ToolCallDelta | None, None, _T]
"""It yields text, new text of a call, or None."""

_BLANKS = re.compile(r"\s*")


class NoCall(Exception):
    """The text is not a tool call."""


class Cursor:
    """Takes text piece by piece, and keeps what was taken until it is clear what it is."""

    def __init__(self) -> None:
        """Begin with no text."""
        self._text = ""
        self._at = 0
        self._taken = list[str]()
        self.has_ended = False
        """Whether no more text will come."""

    @property
    def holds_text(self) -> bool:
        """Whether there is text of which it is not clear yet what it is."""
        return bool(self._taken) or self._at < len(self._text)

    def add(self, text: str) -> None:
        """Add text at the end."""
        self._text = self._text[self._at :] + text
        self._at = 0

    def drop_taken(self) -> None:
        """Forget what was taken: it was markup."""
        self._taken.clear()

    def give_back(self) -> str:
        """Return what was taken: it was text."""
        text = "".join(self._taken)
        self._taken.clear()
        return text

    def passed(self, starts: re.Pattern[str], markers: Sequence[str]) -> tuple[str, bool]:
        """Take the text that certainly comes before a marker; return it, and whether a marker follows."""
        found = starts.search(self._text, self._at)
        stop = found.start() if found is not None else len(self._text)
        if found is None and not self.has_ended:
            stop -= max(overlap(self._text, self._at, marker) for marker in markers)
        text = self._take(stop)
        self._taken.clear()
        return text, found is not None

    def peek(self) -> Reading[str]:
        """Return the next character, or an empty text at the end."""
        while self._at == len(self._text) and not self.has_ended:
            yield None
        return self._text[self._at : self._at + 1]

    def blanks(self) -> Reading[None]:
        """Take blanks."""
        while True:
            found = _BLANKS.match(self._text, self._at)
            self._take(found.end() if found is not None else self._at)
            if self._at < len(self._text) or self.has_ended:
                return
            yield None

    def is_next(self, text: str) -> Reading[bool]:
        """Return whether a text comes next."""
        while not self._text.startswith(text, self._at):
            if self.has_ended or not text.startswith(self._text[self._at : self._at + len(text)]):
                return False
            yield None
        return True

    def literal(self, text: str) -> Reading[bool]:
        """Take a text if it comes next; return whether it did."""
        is_next = yield from self.is_next(text)
        if is_next:
            self._take(self._at + len(text))
        return is_next

    def markers(self, markers: Sequence[str]) -> Reading[bool]:
        """Take markers with blanks between them; return False if the first does not come next.

        Raises NoCall if a later one does not come.
        """
        for number, marker in enumerate(markers):
            if number:
                yield from self.blanks()
            if not (yield from self.literal(marker)):
                if number:
                    raise NoCall
                return False
        return True

    def closing(self, markers: Sequence[str]) -> Reading[None]:
        """Drop those of the markers that come next. The end of the text may cut one. Blanks without a marker stay."""
        for marker in markers:
            yield from self.blanks()
            is_next = yield from self.literal(marker)
            rest = self._text[self._at :] if self.has_ended else ""
            if rest and marker.startswith(rest):
                self._take(len(self._text))
                is_next = True
            if is_next:
                self.drop_taken()

    def run(self, pattern: re.Pattern[str], limit: int) -> Reading[str]:
        """Take the characters that a pattern matches. It must match at most ``limit`` of them."""
        while True:
            found = pattern.match(self._text, self._at)
            stop = found.end() if found is not None else self._at
            if stop < len(self._text) or stop - self._at >= limit or self.has_ended:
                return self._take(stop)
            yield None

    def until(self, end: str) -> Reading[str]:
        """Take the text before a marker, and the marker. Raises NoCall if the text ends before."""
        taken = list[str]()
        while (stop := self._text.find(end, self._at)) < 0:
            if self.has_ended:
                raise NoCall
            taken.append(self._take(len(self._text) - overlap(self._text, self._at, end)))
            yield None
        taken.append(self._take(stop))
        self._take(stop + len(end))
        return "".join(taken)

    def piece(self, nesting: Nesting) -> str:
        """Take what is there of a value in brackets or quotes."""
        return self._take(nesting.feed(self._text, self._at))

    def nested(self, nesting: Nesting) -> Reading[str]:
        """Take a value in brackets or quotes. Raises NoCall if the text ends before."""
        taken = [self.piece(nesting)]
        while not nesting.is_closed:
            if self.has_ended:
                raise NoCall
            yield None
            taken.append(self.piece(nesting))
        return "".join(taken)

    def _take(self, stop: int) -> str:
        text = self._text[self._at : stop]
        if text:
            self._taken.append(text)
        self._at = stop
        return text


def overlap(text: str, start: int, marker: str) -> int:
    """Return the length of the longest end of a text after ``start`` that begins a marker."""
    longest = min(len(text) - start, len(marker) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(marker[:size])), 0)
