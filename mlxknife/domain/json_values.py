"""How many values a JSON text has, without decoding it: a value costs more time and memory than its bytes.

A decoder needs up to a microsecond for a list of three bytes, and holds the interpreter all the while.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class ValueLimits:
    """The largest numbers of values in a JSON text."""

    compound: int
    """Strings, lists and objects together; names of fields are strings."""
    values: int
    """All values, numbers included."""

    def excess(self, data: bytes) -> str | None:
        """Return what a JSON text has too many of, or None. The count is right up to the first mistake in the text."""
        if len(data) <= self.compound:  # every value has a byte
            return None
        most = data.count(b'"') // 2 + data.count(b"[") + data.count(b"{")
        if most <= self.compound and most + data.count(b",") <= self.values:  # counts what is within strings, too
            return None
        plain = _without_escapes(data)
        if plain.count(b'"') // 2 <= self.compound:
            compound, commas = _counts(plain)
            if compound <= self.compound:
                return f"more than {self.values} values" if compound + commas > self.values else None
        return f"more than {self.compound} strings, lists and objects"


def compound_count(data: bytes) -> int:
    """Return the number of strings, lists and objects in a JSON text."""
    return _counts(_without_escapes(data))[0]


def _without_escapes(data: bytes) -> bytes:
    if b"\\" not in data:  # it occurs in strings only
        return data
    return data.replace(b"\\\\", b"").replace(b'\\"', b"")


def _counts(plain: bytes) -> tuple[int, int]:
    """Return how many strings, lists and objects there are, and how many commas between values."""
    outside = b"".join(plain.split(b'"')[::2])
    return plain.count(b'"') // 2 + outside.count(b"[") + outside.count(b"{"), outside.count(b",")
