"""The end of a value in brackets or quotes, in a text that comes in pieces."""

from __future__ import annotations

import re
from functools import cache


class Nesting:
    """Follows one value from its first bracket or quote to the last. It counts brackets and checks nothing else."""

    def __init__(self, quotes: tuple[str, ...], *, has_escapes: bool, depth: int = 0) -> None:
        """Take the quotes around strings, whether a backslash escapes a character in them, and the open brackets."""
        self._quotes = quotes
        self._has_escapes = has_escapes
        self._depth = depth
        self._quote = ""
        """The quote of the current string, or an empty text outside strings."""
        self._is_escaped = False
        self.is_closed = False
        """Whether the value is complete."""

    def feed(self, text: str, start: int) -> int:
        """Return where the value ends, or the piece of it that ``text`` has from ``start``."""
        if self._is_escaped and start < len(text):
            self._is_escaped = False
            start += 1
        while not self.is_closed:
            found = _marks(self._quotes, self._quote, self._has_escapes).search(text, start)
            if found is None:
                return len(text) - self._cut_quote(text, start)
            start = found.end()
            self._pass(found.group())
            if self._is_escaped and start < len(text):
                self._is_escaped = False
                start += 1
        return start

    def _pass(self, mark: str) -> None:
        if mark == "\\":
            self._is_escaped = True
        elif mark in self._quotes:
            self._quote = "" if self._quote else mark
            self.is_closed = not self._quote and not self._depth
        else:
            self._depth += 1 if mark in "{[(" else -1
            self.is_closed = self._depth <= 0

    def _cut_quote(self, text: str, start: int) -> int:
        """Return the length of the end of a text that may begin a quote of several characters."""
        sizes = range(max(map(len, self._quotes)) - 1, 0, -1)
        cut = (size for size in sizes if size <= len(text) - start and self._begins_quote(text[-size:]))
        return next(cut, 0)

    def _begins_quote(self, text: str) -> bool:
        return any(len(quote) > len(text) and quote.startswith(text) for quote in self._quotes)


@cache
def _marks(quotes: tuple[str, ...], quote: str, has_escapes: bool) -> re.Pattern[str]:  # noqa: FBT001 - a cache key
    """Return a pattern for what changes the state inside or outside a string."""
    if quote:
        return re.compile(re.escape(quote) + (r"|\\" if has_escapes else ""))
    return re.compile("|".join([*map(re.escape, quotes), r"[\[\]{}()]"]))
