"""Queries: the words of a question, as FTS5 reads them."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_MAX_WORDS = 64
"""More words of a long question find nothing more, and cost time."""


def words(question: str) -> tuple[str, ...]:
    """Return the words of a question, each once, in their order."""
    return tuple(dict.fromkeys(word.lower() for word in _WORD.findall(question)))[:_MAX_WORDS]


def match_expression(question: str) -> str | None:
    """Return the FTS5 expression that finds any of the words, or None where there are no words.

    Each word is quoted, so that none is an operator or the name of a column.
    """
    return " OR ".join(f'"{word}"' for word in words(question)) or None
