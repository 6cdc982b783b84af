"""Grammars: Lark as llguidance reads it, built from expressions.

No text of a grammar matches an added token of the model, except blanks. So ``marker`` writes such names as tokens, and
the rest as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

_JSON_FORM = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Without it a small model may write blanks until the limit."""
_WITHOUT_CODES = {"json_allowed_escapes": 'nrbtf\\"'}
"""Each key has one spelling then. Else ``"\\u0061"`` would be another ``"a"`` that its schema does not hold."""
_CONTROL_CODE = re.compile(r"\\u00[01]")
"""A control character in a schema, which JSON writes by its code alone."""
_REGEX_PART = re.compile(r"\\?.", re.DOTALL)
"""A character, or an escaped one."""
_REGEX_ESCAPES = {"/": "\\/", "\n": "\\n", "\\\n": "\\n", "\r": "\\r"}
_ANY_TEXT = r"/(.|\n)*/"


class GrammarBuilder:
    """Collects the rules of one grammar. Each method returns an expression, which other rules may contain."""

    def __init__(self, added_tokens: Mapping[str, int]) -> None:
        """Take the names of the model's added tokens with their ids."""
        self._added_tokens = added_tokens
        self._rules = list[str]()

    def rule(self, expression: str, *, attributes: str = "") -> str:
        """Add a rule, and return its name."""
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}{attributes}: {expression}")
        return name

    @staticmethod
    def text(text: str) -> str:
        """Return an expression for exactly this text."""
        return json.dumps(text) if text else '""'

    def marker(self, name: str) -> str:
        """Return an expression for a marker of the model, of which each added token is one token."""
        tokens = sorted((token for token in self._added_tokens if token and token in name), key=len, reverse=True)
        if not tokens:
            return self.text(name)
        parts = re.split(f"({'|'.join(map(re.escape, tokens))})", name)
        numbers = self._added_tokens
        return " ".join(f"<[{numbers[part]}]>" if part in numbers else self.text(part) for part in parts if part)

    def markers(self, names: Sequence[str]) -> str:
        """Return an expression for markers and texts in their order."""
        return " ".join(self.marker(name) for name in names if name)

    def is_text(self, name: str) -> bool:
        """Whether a marker is text alone, so that a terminal may end with it."""
        return not any(token and token in name for token in self._added_tokens)

    def terminal(self, expression: str) -> str:
        """Add a terminal, which may combine regular expressions with ``&`` and ``~``, and return its name."""
        name = f"T{len(self._rules)}"
        self._rules.append(f"{name}: {expression}")
        return name

    @staticmethod
    def containing(text: str) -> str:
        """Return a regular expression for the texts that contain a text."""
        pattern = "".join(f"\\x{{{ord(char):x}}}" for char in text)
        return f"/(.|\\n)*{pattern}(.|\\n)*/"

    def json(self, schema: Mapping[str, object] | bool) -> str:  # noqa: FBT001 - a schema may be true or false
        """Return an expression for a JSON document under a schema."""
        written = dict(schema) if isinstance(schema, Mapping) else {"allOf": [schema]}
        needs_codes = _CONTROL_CODE.search(json.dumps(schema)) is not None
        form = _JSON_FORM | _WITHOUT_CODES if _has_open_object(schema) and not needs_codes else _JSON_FORM
        return self.rule(f"%json {json.dumps(written | {'x-guidance': form})}")

    @staticmethod
    def regex(pattern: str) -> str:
        """Return an expression for the texts that a regular expression matches as a whole; it is not empty."""
        written = _REGEX_PART.sub(lambda part: _REGEX_ESCAPES.get(part[0], part[0]), pattern)
        return f"/(?:{written})/"

    def until(self, end: str) -> str:
        """Return an expression for any text and the marker that ends it."""
        if end in self._added_tokens:
            return self.rule(f"{_ANY_TEXT} {self.marker(end)}")
        pattern = "".join(f"\\x{{{ord(char):x}}}" for char in end)
        return self.rule(f"/(.|\\n)*{pattern}/", attributes="[lazy]")

    @staticmethod
    def any_text() -> str:
        """Return an expression for any text without added tokens that structure a prompt."""
        return _ANY_TEXT

    def source(self, start: str) -> str:
        """Return the grammar of a start expression."""
        return "\n".join([f"start: {start}", *self._rules, ""])


def _has_open_object(schema: object) -> bool:
    """Whether an object in a schema has declared keys and may have others."""
    pending = [schema]
    while pending:
        match pending.pop():
            case Mapping() as node:
                is_declared = "properties" in node or "patternProperties" in node
                if is_declared and node.get("additionalProperties") is not False:
                    return True
                pending += node.values()
            case list() as items:
                pending += items
    return False
