"""The documents that ``rerank`` reads: lines of text, or of JSON as ``embed`` and ``search`` print them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from mlxknife.domain.errors import ValidationError


def documents(groups: Iterable[list[str]], name: str) -> Iterator[str]:
    """Yield the text of each line; empty lines are skipped. Raises ValidationError for an object without a text.

    ``name`` is the name of the source, for errors.
    """
    number = 0
    for group in groups:
        for line in group:
            number += 1
            if line.strip():
                yield _text(line, f"Line {number} of {name}")


def _text(line: str, place: str) -> str:
    """Return the ``text`` of a JSON object; a line that is none is a text itself."""
    if not line.lstrip().startswith("{"):
        return line
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return line
    text = found.get("text") if isinstance(found, dict) else None
    if not isinstance(text, str):
        msg = f"{place} is a JSON object without a text"
        raise ValidationError(msg)
    return text
