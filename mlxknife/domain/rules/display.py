"""Display: text of strangers, made safe to look at."""

from __future__ import annotations

import unicodedata

_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
_HARMLESS = "\u00ad\u200c\u200d"
"""Soft hyphen and the joiners that many scripts and emoji need."""


def is_unprintable(char: str) -> bool:
    """Tell whether a character could steer a terminal, turn the reading direction, or break a line."""
    return unicodedata.category(char) in _STEERING and char not in _HARMLESS


def visible(text: str) -> str:
    """Return a text with every unprintable character written out as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if is_unprintable(char) else char for char in text)


def width(text: str) -> int:
    """Return how many columns a visible text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or char in _HARMLESS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
