"""Display: untrusted text with its control characters escaped, and sizes for people."""

from __future__ import annotations

import unicodedata

_CONTROL_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
_HARMLESS = "\u00ad\u200c\u200d"
"""Soft hyphen and the joiners that many scripts and emoji use."""

_SIZES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


def is_unprintable(char: str) -> bool:
    """Return whether a character could control a terminal, change the text direction, or break a line."""
    return unicodedata.category(char) in _CONTROL_CATEGORIES and char not in _HARMLESS


def visible(text: str) -> str:
    """Return a text with every unprintable character escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if is_unprintable(char) else char for char in text)


def size(size_bytes: int) -> str:
    """Return a size in decimal units: 1 MB = 10^6 bytes."""
    for unit, factor in _SIZES:
        # 999 950 bytes would round to "1000KB": they get the next unit.
        if size_bytes >= factor * 0.99995:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + unit
    return f"{size_bytes}B"


def width(text: str) -> int:
    """Return the number of terminal columns of a printable text."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or char in _HARMLESS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
