"""Literals: values as models write them in calls that are not JSON, such as ``[f(a='x', b=[1, None])]``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

Literal: TypeAlias = "str | int | float | bool | list[Literal] | dict[str, Literal] | None"

PYTHON_QUOTES = ('"', "'")
_MAX_DEPTH = 64
_TOO_DEEP = "nested too deeply"
_BLANKS = re.compile(r"\s*")
_KEY = re.compile(r"[^\s:=,(){}\[\]]+")
_BARE = re.compile(r"[^,(){}\[\]]+")
_STRINGS = {quote: re.compile(rf"[^{quote}\\]*(?:\\.[^{quote}\\]*)*", re.DOTALL) for quote in PYTHON_QUOTES}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_CHARACTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": "", "/": "/"}
_WORDS: Mapping[str, bool | None] = {
    "true": True, "True": True, "false": False, "False": False, "null": None, "None": None, "none": None,
}  # fmt: skip


def to_json(value: Literal) -> str:
    """Return a value as JSON that every encoding can hold.

    Raises ValueError for a number that is too large and for a value that is nested too deeply.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # half of a character
        return json.dumps(value)
    except RecursionError as exc:
        raise ValueError(_TOO_DEEP) from exc
    return text


def from_json(text: str) -> Literal:
    """Return the value of a JSON text, in whose strings control characters may be.

    Raises ValueError, also for a text that is nested too deeply.
    """
    try:
        value: Literal = json.loads(text, parse_constant=_refused, strict=False)
    except RecursionError as exc:
        raise ValueError(_TOO_DEEP) from exc
    return value


def as_json(text: str, value: Literal) -> str:
    """Return a JSON text as it is if every decoder takes it, or else its value as JSON. Raises ValueError."""
    try:
        json.loads(text, parse_constant=_refused)
        text.encode()
    except ValueError:
        return to_json(value)
    return text


def from_words(text: str) -> Literal:
    """Return the value of a text that may be a number or a word such as ``None``; otherwise the text."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        value = from_json(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and math.isfinite(value) else text


class LiteralReader:
    """Reads the values of one text. Its methods raise ValueError where the text is not as it must be."""

    def __init__(self, text: str, quotes: tuple[str, ...], *, has_escapes: bool) -> None:
        """Take a text, the quotes around strings, and whether a backslash escapes a character in them."""
        self._text = text
        self._at = 0
        self._quotes = quotes
        self._has_escapes = has_escapes

    def value(self) -> Literal:
        """Return the value that the whole text is."""
        value = self._value(0)
        self._blanks()
        if self._at != len(self._text):
            raise self._mistake()
        return value

    def members(self, ends: str = "()", sign: str = "=") -> dict[str, Literal]:
        """Return the members that the whole text is: keys and values in brackets."""
        members = self._members(ends, sign, 0)
        if self._at != len(self._text):
            raise self._mistake()
        return members

    def _value(self, depth: int) -> Literal:
        if depth > _MAX_DEPTH:
            raise self._mistake()
        self._blanks()
        if (text := self._string()) is not None:
            return text
        opening = self._text[self._at : self._at + 1]
        if opening == "{":
            return self._members("{}", ":", depth)
        if opening in ("[", "("):
            return self._items("[]" if opening == "[" else "()", depth)
        return from_words(self._matched(_BARE).strip())

    def _members(self, ends: str, sign: str, depth: int) -> dict[str, Literal]:
        members = dict[str, Literal]()

        def member() -> None:
            key = self._string()
            if key is None:
                key = self._matched(_KEY)
            self._expect(sign)
            members[key] = self._value(depth + 1)

        self._listed(ends, member)
        return members

    def _items(self, ends: str, depth: int) -> list[Literal]:
        items = list[Literal]()
        self._listed(ends, lambda: items.append(self._value(depth + 1)))
        return items

    def _listed(self, ends: str, read: Callable[[], None]) -> None:
        """Read items with commas between them, in brackets. A comma may come after the last."""
        self._expect(ends[0])
        while not self._is_next(ends[1]):
            read()
            if not self._is_next(","):
                self._expect(ends[1])
                return

    def _string(self) -> str | None:
        quote = next((quote for quote in self._quotes if self._text.startswith(quote, self._at)), None)
        if quote is None:
            return None
        self._at += len(quote)
        if self._has_escapes:
            text = self._matched(_STRINGS[quote])
            self._expect(quote)
            return _unescaped(text)
        start, end = self._at, self._text.find(quote, self._at)
        if end < 0:
            raise self._mistake()
        self._at = end + len(quote)
        return self._text[start:end]

    def _matched(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._mistake()
        self._at = found.end()
        return found.group()

    def _blanks(self) -> None:
        self._matched(_BLANKS)

    def _is_next(self, text: str) -> bool:
        self._blanks()
        is_next = self._text.startswith(text, self._at)
        if is_next:
            self._at += len(text)
            self._blanks()
        return is_next

    def _expect(self, text: str) -> None:
        if not self._is_next(text):
            raise self._mistake()

    def _mistake(self) -> ValueError:
        return ValueError(f"no value at character {self._at}")


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(_character, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # two escapes may be one character


def _character(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code is None:
        return _CHARACTERS.get(found[4], found[4] if found[4] in "\\'\"" else found[0])
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else found[0]  # noqa: PLR2004 - the last character


def _refused(name: str) -> Literal:
    msg = f"JSON has no {name}"
    raise ValueError(msg)
