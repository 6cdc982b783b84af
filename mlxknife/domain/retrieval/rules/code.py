"""Code: a section for each definition that begins in the first column, by a rule about lines that needs no parser.

A parser would know one language, and could be led astray by a file that is wrong. A line of a text literal that looks
like a definition only makes one cut more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mlxknife.domain.retrieval.rules.sections import Section

_SUFFIXES = tuple(
    (
        ".py .pyi .js .jsx .mjs .cjs .ts .tsx .go .rs .c .h .cc .cpp .cxx .hh .hpp .m .mm .metal .cu .java .kt .kts "
        ".scala .swift .cs .rb .php .lua .sh .bash .zsh .pl .pm .r .jl .dart .ex .exs .erl .hs .ml .clj .zig .sql .vue"
    ).split()
)
_MODIFIERS = (
    r"(?:(?:pub(?:\([\w:]+\))?|public|private|protected|internal|static|final|abstract|async|export|default|unsafe"
    r"|extern|override|open|sealed|inline|virtual|const|data|local|declare)\s+){0,6}"
)
_KEYWORDS = (
    r"(?:def|class|function\*?|func|fn|fun|struct|enum|interface|trait|impl|module|mod|namespace|protocol|extension"
    r"|type|object|record|macro_rules!|sub|defmodule|defp?|create)\b"
)
_DEFINITION = re.compile(rf"\s*{_MODIFIERS}{_KEYWORDS}", re.IGNORECASE)
_ASSIGNED = re.compile(r"\s*(?:export\s+)?(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:function\b|\([^()]*\)\s*=>)")
_C_FUNCTION = re.compile(r"[A-Za-z_][\w:<>*&,\s]{0,100}\([^;{}]*\)?\s*\{?\s*$")
_ABOVE = ("@", "#[", "//", "/*", " *", "* ", "--", "# ", "#:", ";;", "[")
"""How a line begins that belongs to the definition below it: a decorator, an attribute, a comment."""
_MAX_LINE, _MAX_TITLE = 300, 120
_DEEPEST = 8
"""The indentation up to which an inner definition is a place to cut a long section."""


def is_code(name: str) -> bool:
    """Return whether a file name in lower case is that of a program."""
    return name.endswith(_SUFFIXES)


def sections(lines: Sequence[str]) -> Iterator[Section]:
    """Yield a section for what comes before the first definition, and one for each definition in the first column."""
    starts = [place for place, line in enumerate(lines) if _is_definition(line) and _indentation(line) == 0]
    tops = [(_with_lines_above(lines, place), place) for place in starts]
    first = tops[0][0] if tops else len(lines)
    if first > 0 or not lines:
        yield Section(0, first)
    for number, (top, place) in enumerate(tops):
        end = tops[number + 1][0] if number + 1 < len(tops) else len(lines)
        yield Section(top, end, lines[place].strip()[:_MAX_TITLE], _inner(lines, place + 1, end))


def _inner(lines: Sequence[str], start: int, end: int) -> frozenset[int]:
    """Return where the inner definitions of a section begin, its blank lines included."""
    inner = [
        place
        for place in range(start, end)
        if 0 < _indentation(lines[place]) <= _DEEPEST and _is_definition(lines[place])
    ]
    return frozenset(_with_lines_above(lines, place, start) for place in inner)


def _is_definition(line: str) -> bool:
    if not line or len(line) > _MAX_LINE:
        return False
    if _DEFINITION.match(line) is not None or _ASSIGNED.match(line) is not None:
        return True
    return line[0].isalpha() and line.rstrip().endswith("{") and _C_FUNCTION.match(line) is not None


def _with_lines_above(lines: Sequence[str], place: int, start: int = 0) -> int:
    """Return the first of the decorators and comments directly above a definition, or its own position."""
    indentation = _indentation(lines[place])
    while place > start and _belongs_below(lines[place - 1], indentation):
        place -= 1
    return place


def _belongs_below(line: str, indentation: int) -> bool:
    return _indentation(line) in (indentation, indentation + 1) and line[indentation:].startswith(_ABOVE)


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
