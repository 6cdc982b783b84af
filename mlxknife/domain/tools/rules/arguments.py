"""Arguments that a model writes as plain text: the schema of a tool says what type each one has."""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.domain.tools.rules.literals import (
    PYTHON_QUOTES,
    Literal,
    LiteralReader,
    as_json,
    from_json,
    from_words,
    to_json,
)
from mlxknife.domain.tools.values import Tool

_MAX_REFERENCES = 16
_MAX_SCHEMAS = 256
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")


class ArgumentTypes:
    """The types of the arguments of one tool."""

    def __init__(self, tool: Tool) -> None:
        """Take the tool. A schema that cannot be read allows every type."""
        try:
            schema = from_json(tool.parameters)
        except ValueError:
            schema = None
        self._root: Mapping[str, Literal] = schema if isinstance(schema, dict) else {}
        self._properties = self._resolved(self._root).get("properties")
        self._types = dict[str, frozenset[str]]()

    def argument(self, key: str, text: str) -> str:
        """Return an argument as JSON.

        A text that is a value of a declared type becomes that value. Where strings are allowed, any other text stays a
        string. An argument that is not declared is a value if it is valid JSON.
        """
        types, trimmed = self._of(key), text.strip()
        if types == {"string"}:
            return to_json(text)
        value = _value(trimmed)
        if isinstance(value, float) and value.is_integer() and types & {"integer", "number"} == {"integer"}:
            return to_json(int(value))
        is_text = bool(types) if isinstance(value, str) else "string" in types and not _kinds(value) & types
        try:
            return to_json(text) if is_text or value == trimmed else as_json(trimmed, value)
        except ValueError:
            return to_json(text)

    def _of(self, key: str) -> frozenset[str]:
        """Return the types of an argument; none if it may be anything."""
        if key not in self._types:
            properties = self._properties
            schema = properties.get(key) if isinstance(properties, dict) else None
            self._types[key] = frozenset(self._found(schema))
        return self._types[key]

    def _found(self, schema: Literal) -> set[str]:
        types, pending = set[str](), [schema]
        for _ in range(_MAX_SCHEMAS):
            if not pending:
                break
            one = pending.pop()
            if isinstance(one, dict):
                resolved = self._resolved(one)
                types |= _declared(resolved)
                for name in _ALTERNATIVES:
                    pending += _items(resolved.get(name))[:_MAX_SCHEMAS]
        return types

    def _resolved(self, schema: Mapping[str, Literal]) -> Mapping[str, Literal]:
        """Return the schema that a schema refers to within the same document, or the schema itself."""
        for _ in range(_MAX_REFERENCES):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            found: Literal = dict(self._root)
            for step in reference[2:].split("/"):
                found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
            if not isinstance(found, dict):
                break
            schema = found
        return schema


def _declared(schema: Mapping[str, Literal]) -> set[str]:
    """Return the types that one schema names, or those of its constants."""
    declared = schema.get("type")
    if declared is not None:
        names = declared if isinstance(declared, list) else [declared]
        return {name for name in names if isinstance(name, str)}
    constants = [*_items(schema.get("enum")), *([schema["const"]] if "const" in schema else [])]
    return {kind for value in constants for kind in _kinds(value)}


def _items(value: Literal) -> list[Literal]:
    return value if isinstance(value, list) else []


def _value(text: str) -> Literal:
    """Return the value of a JSON text, of a word such as ``None``, or of a list or dict of Python; or the text."""
    try:
        return from_json(text)
    except ValueError:
        if not text.startswith(("{", "[")):
            return from_words(text)
    try:
        return LiteralReader(text, PYTHON_QUOTES, has_escapes=True).value()
    except ValueError:
        return text


def _kinds(value: Literal) -> set[str]:
    """Return the types of JSON schema that a value has."""
    if value is None:
        return {"null"}
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    if isinstance(value, float):
        return {"number"}
    if isinstance(value, str):
        return {"string"}
    return {"array"} if isinstance(value, list) else {"object"}
