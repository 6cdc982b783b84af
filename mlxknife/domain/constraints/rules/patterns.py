"""Regular expressions that the compiler of grammars takes: without conditions on the text around a match."""

from __future__ import annotations

import re

SUPPORTED = "a regular expression with closed brackets, and without look-around, back-references and word boundaries"

_PART = re.compile(
    r"""
    (?P<condition> \(\?<?[=!] | \\[bB1-9] | \\k< )
    | (?P<set> \[\^?\]?(?:\\.|[^\]\\])*\] )
    | (?P<open> \( ) | (?P<close> \) ) | (?P<unclosed> \[ )
    | \\?.
    """,
    re.VERBOSE | re.DOTALL,
)


def is_supported(pattern: object) -> bool:
    """Whether a value is a regular expression of this kind. Other faults are found when it is compiled."""
    if not isinstance(pattern, str):
        return False
    depth = 0
    for part in _PART.finditer(pattern):
        if part["condition"] or part["unclosed"] or part[0] == "\\":
            return False
        depth += bool(part["open"]) - bool(part["close"])
        if depth < 0:
            return False
    return depth == 0
