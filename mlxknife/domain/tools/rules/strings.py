"""Grammars of strings that a format writes without escapes, up to the marker that ends them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.tools.rules.parameters import Schema, ToolSchema

_KEYWORDS = frozenset(["type", "enum", "const", "minLength", "maxLength", "pattern"])
_ANY = r"/(.|\n)*/"
_DISTINCT = r"/[A-Za-z_](.|\n)*/ & ~/(true|false|null|none|True|False|None)\s*/"
"""Texts that no reader takes for a value of another type."""
_IS_DISTINCT = re.compile(r"(?!(?:true|false|null|none|True|False|None)\s*\Z)[A-Za-z_]")
_INNER_ANCHOR = re.compile(r"(?<![\\\[])[\^$]")


def sequence(*expressions: str) -> str:
    """Return an expression for several ones, one after the other."""
    return " ".join(expression for expression in expressions if expression)


def choice(expressions: Sequence[str]) -> str:
    """Return an expression for one of several ones."""
    return f"({' | '.join(expressions)})" if len(expressions) > 1 else expressions[0]


class Strings:
    """Writes the grammars of strings with one end."""

    def __init__(self, builder: GrammarBuilder, end: str, pad: str = "") -> None:
        """Take the marker, and the text on both sides of a string that does not belong to it."""
        self._builder = builder
        self._end = end
        self._pad = builder.text(pad) if pad else ""

    def value(self, tool: ToolSchema, schema: Schema, *, is_distinct: bool = False) -> str:
        """Return an expression for a string under a schema, and the marker.

        ``is_distinct`` excludes the texts of values of other types. Raises ValidationError for a schema that cannot be
        expressed.
        """
        tool.check(schema, _KEYWORDS)
        constants = [schema["const"]] if "const" in schema else schema.get("enum")
        if constants is not None:
            return self._one_of(tool, constants, is_distinct=is_distinct)
        pattern = _whole(tool, schema["pattern"]) if "pattern" in schema else _ANY
        if "minLength" in schema or "maxLength" in schema:
            pattern += rf" & /(.|\n){{{schema.get('minLength', 0)},{schema.get('maxLength', '')}}}/"
        return self.matching(f"{pattern} & {_DISTINCT}" if is_distinct else pattern)

    def matching(self, pattern: str) -> str:
        """Return an expression for a string of a pattern, and the marker."""
        builder = self._builder
        text = builder.terminal(f"{pattern} & ~{builder.containing(self._end)}")
        if builder.is_text(self._end):
            return sequence(self._pad, builder.terminal(sequence(text, self._pad, builder.text(self._end))))
        padded = builder.terminal(sequence(text, self._pad)) if self._pad else text
        return sequence(self._pad, padded, builder.marker(self._end))

    def ended(self, expression: str) -> str:
        """Return an expression for a value that is no string, and the marker."""
        return sequence(self._pad, expression, self._pad, self._builder.marker(self._end))

    def _one_of(self, tool: ToolSchema, constants: Sequence[object], *, is_distinct: bool) -> str:
        possible = [
            one
            for one in constants
            if isinstance(one, str) and self._end not in one and not (is_distinct and not _IS_DISTINCT.match(one))
        ]
        if not possible:
            tool.fail("none of the constants can be written")
        return self.ended(choice([self._builder.text(text) for text in possible]))


def _whole(tool: ToolSchema, pattern: str) -> str:
    """Return a pattern for whole texts; a pattern of JSON schema may match a part of them."""
    body = pattern.removeprefix("^")
    has_end = body.endswith("$") and not body.endswith("\\$")
    body = body[:-1] if has_end else body
    if _INNER_ANCHOR.search(body) or (body != pattern and "|" in body):
        tool.refuse(f"the pattern {pattern!r}")
        return _ANY
    before, after = "" if pattern.startswith("^") else r"(.|\n)*", "" if has_end else r"(.|\n)*"
    return GrammarBuilder.regex(f"{before}(?:{body}){after}")
