"""JSON pointers: where a schema stands in a document, and where a reference leads."""

from __future__ import annotations

import re

_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")


def pointer(ref: str) -> str | None:
    """Return the JSON pointer of a reference inside of a document, with escapes as JSON pointers have them."""
    if ref != "#" and not ref.startswith("#/"):
        return None
    data = _ESCAPE.sub(lambda byte: chr(int(byte[1], 16)), ref[1:].encode().decode("latin-1"))
    try:
        return data.encode("latin-1").decode()
    except UnicodeError:
        return None


def escaped(name: str) -> str:
    """Return a name as a JSON pointer has it."""
    return name.replace("~", "~0").replace("/", "~1")
