"""How many values a JSON body may have. They are counted before it is decoded: a value costs more than its bytes.

A decoder needs up to a microsecond for a list of three bytes, and holds the interpreter all the while.
"""

from __future__ import annotations

from mlxknife.http.core.errors import BodyTooLarge

MAX_COMPOUND = 2**16
"""The largest number of strings, lists and objects; names of fields are strings."""
MAX_VALUES = 2**19
"""The largest number of values, numbers included: token ids are numbers."""


def check_values(body: bytes, max_compound: int = MAX_COMPOUND, max_values: int = MAX_VALUES) -> None:
    """Raise BodyTooLarge for a JSON text with too many values. The count is right up to the first mistake in it."""
    if len(body) <= max_compound:  # every value has a byte
        return
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # a backslash occurs in strings only
    strings = plain.count(b'"') // 2
    if strings > max_compound:
        raise _too_many(max_compound, "strings, lists and objects")
    outside = b"".join(plain.split(b'"')[::2])
    compound = strings + outside.count(b"[") + outside.count(b"{")
    if compound > max_compound:
        raise _too_many(max_compound, "strings, lists and objects")
    if compound + outside.count(b",") > max_values:
        raise _too_many(max_values, "values")


def _too_many(limit: int, what: str) -> BodyTooLarge:
    return BodyTooLarge(f"The body has more than {limit} {what}", hint="Send several requests")
