"""Redaction: what no log and no error may show, taken out of a text."""

from __future__ import annotations

import re
from collections.abc import Collection

MARK = "[REDACTED_TOKEN]"
HOME = "~"

_BARE = r"(?:hf|sk|ghp|gho|github_pat)[_-][A-Za-z0-9_-]{6,}"
_TOKENS = re.compile(rf"(?<![A-Za-z0-9]){_BARE}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)(?!\[REDACTED_TOKEN\]|(?-i:KEY)(?![^\s,;\"']))[^\s,;\"']+")
"""``Bearer KEY`` is how a header is explained, and no secret."""
_HOMES = re.compile(r"(?<![\w.~])/(?:(?:Users|home)/[^/\s:\"'<>|]+|(?:var/)?root)(?![\w.-])")
_SHORTEST_SECRET = 4
"""A shorter one would be found in every other word."""


def redacted(text: str, secrets: Collection[str] = (), homes: Collection[str] = ()) -> str:
    """Return a text without tokens, without the secrets that are named, and with ``~`` for folders of users.

    ``homes`` are the home folders that do not stand where such folders usually do.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET and secret not in MARK:
            text = text.replace(secret, MARK)
    text = _BEARER.sub(rf"\1\2{MARK}", text)
    text = _TOKENS.sub(MARK, text)
    for home in sorted(homes, key=len, reverse=True):
        if home.strip("/"):
            text = re.sub(rf"{re.escape(home.rstrip('/'))}(?![\w.-])", HOME, text)
    return _HOMES.sub(HOME, text)
