"""Strict JSON from JSON that a model writes: small models write line breaks and tabs into strings as they are."""

from __future__ import annotations

import re

_MARK = re.compile(r'["\\\x00-\x1f]')
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


class ControlEscaper:
    """Escapes the control characters in the strings of one value, which comes in pieces."""

    def __init__(self) -> None:
        """Begin outside a string."""
        self._is_in_string = False
        self._escaped_at = -1
        """Where in the current piece the character is that a backslash escapes."""

    def feed(self, piece: str) -> str:
        """Return a piece with its control characters escaped."""
        strict = _MARK.sub(self._replaced, piece)
        self._escaped_at -= len(piece)
        return strict

    def _replaced(self, found: re.Match[str]) -> str:
        mark = found.group()
        if found.start() == self._escaped_at:
            return _ESCAPES.get(mark, mark)[-1]  # after a backslash, a line break can only be an escaped one
        if mark == '"':
            self._is_in_string = not self._is_in_string
        elif mark == "\\":
            self._escaped_at = found.end()
        elif self._is_in_string:
            return _ESCAPES.get(mark, f"\\u{ord(mark):04x}")
        return mark
