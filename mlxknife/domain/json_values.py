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
        plain = data
        if b"\\" in data:  # it occurs in strings only
            plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
        compound = plain.count(b'"') // 2
        if compound <= self.compound:
            outside = b"".join(plain.split(b'"')[::2])
            compound += outside.count(b"[") + outside.count(b"{")
            if compound <= self.compound:
                is_within = compound + outside.count(b",") <= self.values
                return None if is_within else f"more than {self.values} values"
        return f"more than {self.compound} strings, lists and objects"
