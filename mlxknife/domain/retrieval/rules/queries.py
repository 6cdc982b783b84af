"""Queries: the words of a question, as FTS5 reads them."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_MAX_WORDS = 64
"""More words of a long question find nothing more, and cost time."""
_FUNCTION_WORDS = frozenset(
    (
        "a about after again all also am an and any are as at be because been before being below between both but by "
        "can could did do does doing down during each for from had has have having he her here hers him his how i if "
        "in into is it its just may me might more most must my no nor not of off on once only or other our ours "
        "out over own same shall she should so some such than that the their theirs them then there these they this "
        "those through to too under until up us very was we were what when where which while who whom whose why "
        "will with would you your yours"
    ).split()
)
"""English words that say nothing about the subject. In a small index they are rare enough to look important."""


def words(question: str) -> tuple[str, ...]:
    """Return the words of a question, each once, in their order; function words only if there are no others."""
    found = tuple(dict.fromkeys(word.lower() for word in _WORD.findall(question)))
    return (tuple(word for word in found if word not in _FUNCTION_WORDS) or found)[:_MAX_WORDS]


def match_expression(question: str) -> str | None:
    """Return the FTS5 expression that finds any of the words, or None where there are no words.

    Each word is quoted, so that none is an operator or the name of a column.
    """
    return " OR ".join(f'"{word}"' for word in words(question)) or None
