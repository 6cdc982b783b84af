"""Redaction: what no log and no error may show, taken out of a text."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

MARK = "[REDACTED_TOKEN]"
HOME = "~"

_ENCODED = r"(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})|(?<=\\[nrt])"
"""Behind ``%3D``, ``%253D`` and ``\\n`` a word begins too, as behind what they stand for."""
_SLASH = "(?:/|%2[Ff])"
_BARE = r"(?:hf|sk|gh[opsru]|github_pat|glpat)(?:[_-]|%5[Ff]|%2[Dd])[A-Za-z0-9_-]{6,}"
_AWS = "A[KS]IA[A-Z0-9]{16,}"
_TOKENS = re.compile(rf"(?:(?<![A-Za-z0-9])|{_ENCODED})(?:{_BARE}|{_AWS})")
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)(?!\[REDACTED_TOKEN\]|(?-i:KEY)(?![^\s,;\"']))[^\s,;\"']+")
"""``Bearer KEY`` is how a header is explained, and no secret."""
_USERS = rf"(?:Users|(?:(?:var|usr|export){_SLASH})?home){_SLASH}[^/\s:\"'<>|]+"
_HOMES = re.compile(rf"(?:(?<![\w.~])|{_ENCODED}){_SLASH}(?:{_USERS}|(?:var{_SLASH})?root)(?![\w.-])")
_SIGNS = ("bearer", "bas", "hf", "sk", "gh", "github", "glpat", "akia", "asia", "home", "users", "root")
"""One of them is in every text in which the patterns above find anything, whatever stands for the ``i`` of ``basic``:
most lines of a log have none."""
_SHORTEST_SECRET = 4
"""A shorter one would be found in every other word."""


def redacted(text: str, secrets: Collection[str] = (), homes: Collection[str] = ()) -> str:
    """Return a text without tokens, without the secrets that are named, and with ``~`` for folders of users.

    ``homes`` are the home folders that do not stand where such folders usually do.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET and secret not in MARK:
            text = text.replace(secret, MARK)
    folded = text.casefold()
    is_suspect = any(sign in folded for sign in _SIGNS)
    if is_suspect:
        text = _BEARER.sub(rf"\1\2{MARK}", text)
        text = _TOKENS.sub(MARK, text)
    for home in sorted(homes, key=len, reverse=True):
        if home.strip("/"):
            text = _at(home).sub(HOME, text)
    return _HOMES.sub(HOME, text) if is_suspect else text


@lru_cache(maxsize=16)
def _at(home: str) -> re.Pattern[str]:
    there = _SLASH.join(map(re.escape, home.rstrip("/").split("/")))
    return re.compile(rf"{there}(?![\w.-])")
