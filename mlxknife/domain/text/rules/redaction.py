"""Redaction: removes tokens, secrets and home folders from logs and errors."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

MARK = "[REDACTED_TOKEN]"
HOME = "~"

_ENCODED = r"(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})|(?<=\\[nrt])"
"""A word also begins after ``%3D``, ``%253D`` and ``\\n``, as it does after the characters they encode."""
_SLASH = "(?:/|%2[Ff])"
_BARE = r"(?:hf|sk|gh[opsru]|github_pat|glpat)(?:[_-]|%5[Ff]|%2[Dd])[A-Za-z0-9_-]{6,}"
_AWS = "A[KS]IA[A-Z0-9]{16,}"
_TOKENS = re.compile(rf"(?:(?<![A-Za-z0-9])|{_ENCODED})(?:{_BARE}|{_AWS})")
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)(?!\[REDACTED_TOKEN\]|(?-i:KEY)(?![^\s,;\"']))[^\s,;\"']+")
"""``Bearer KEY`` explains a header and is not a secret."""
_USERS = rf"(?:Users|(?:(?:var|usr|export){_SLASH})?home){_SLASH}[^/\s:\"'<>|]+"
_HOMES = re.compile(rf"(?:(?<![\w.~])|{_ENCODED}){_SLASH}(?:{_USERS}|(?:var{_SLASH})?root)(?![\w.-])")
_MARKERS = ("bearer", "bas", "hf", "sk", "gh", "github", "glpat", "akia", "asia", "home", "users", "root")
"""Every text that matches a pattern above contains one of these (``bas``: some letters fold to the ``i`` of ``basic``).

Most log lines contain none, and skip the patterns."""
_SHORTEST_SECRET = 4
"""A shorter secret would match in ordinary words."""


def redacted(text: str, secrets: Collection[str] = (), homes: Collection[str] = ()) -> str:
    """Return a text without tokens and without ``secrets``, and with ``~`` in place of home folders.

    ``homes`` are home folders at unusual paths.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET and secret not in MARK:
            text = text.replace(secret, MARK)
    folded = text.casefold()
    is_suspect = any(marker in folded for marker in _MARKERS)
    if is_suspect:
        text = _BEARER.sub(rf"\1\2{MARK}", text)
        text = _TOKENS.sub(MARK, text)
    for home in sorted(homes, key=len, reverse=True):
        if home.strip("/"):
            text = _home_pattern(home).sub(HOME, text)
    return _HOMES.sub(HOME, text) if is_suspect else text


@lru_cache(maxsize=16)
def _home_pattern(home: str) -> re.Pattern[str]:
    path = _SLASH.join(map(re.escape, home.rstrip("/").split("/")))
    return re.compile(rf"{path}(?![\w.-])")
