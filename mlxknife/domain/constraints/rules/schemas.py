"""JSON schemas: which ones can hold an answer, and in what form they go into a grammar.

A schema is read as draft 2020-12. The compiler of grammars ignores keywords that it does not know, so they are refused
here by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn, TypeAlias

from mlxknife.domain.constraints.rules import object_counts, patterns, schema_costs
from mlxknife.domain.constraints.rules.keywords import (
    COUNTS,
    MANY_SCHEMAS,
    NAMED_SCHEMAS,
    ONE_SCHEMA,
    PATTERNS,
    VALUES,
    Json,
    is_annotation,
    is_needless,
)
from mlxknife.domain.constraints.rules.pointers import escaped, pointer
from mlxknife.domain.errors import ValidationError

Schema: TypeAlias = dict[str, Json] | bool

MAX_TEXT = 256 * 1024
"""The largest number of characters of a schema."""
_MAX_DEPTH = 40
"""Schemas inside of schemas; llguidance reads no more than 128 levels of JSON, and a property takes two."""
_MAX_VALUE_DEPTH = 32
_MAX_SCHEMAS = 5_000
MAX_CHOICES = 5_000
"""The largest number of values in all ``enum`` of a schema together."""
_MAX_PATTERN = 1_024
_MAX_PATTERNS = 16 * 1024
"""The characters of one regular expression, and of all together."""
SHOWN = 80
"""The characters of a name that an error shows."""


def parse(text: str, place: str) -> Schema:
    """Return the schema in a JSON text, without what changes nothing. ``place`` names it in errors.

    Raises ValidationError, naming the keyword and its path, for a schema that is not supported or exceeds a limit.
    """
    return _Walk(place, drops_unsupported=False).document(_decoded(text, place))


def parse_lenient(text: str, place: str) -> Schema:
    """Return the supported part of a schema: unsupported keywords are left out, and ``oneOf`` becomes ``anyOf``.

    Raises ValidationError, naming the place, for a text that is no schema, and for one that exceeds a limit.
    """
    return _Walk(place, drops_unsupported=True).document(_decoded(text, place))


def cost(schema: Schema) -> float:
    """Return what it costs to compile a schema that was parsed, by the measure of ``schema_costs``."""
    walk = _Walk("schema", drops_unsupported=True)
    walk.document(schema)
    return walk.cost


def _decoded(text: str, place: str) -> Json:
    if len(text) > MAX_TEXT:
        msg = f"{place} has more than {MAX_TEXT} characters"
        raise ValidationError(msg, param=place)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as exc:
        msg = f"{place} is nested too deeply"
        raise ValidationError(msg, param=place) from exc
    except ValueError as exc:
        msg = f"{place} is not valid JSON: {exc}"
        raise ValidationError(msg, param=place) from exc


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON value"
    raise ValueError(msg)


class _Walk:
    """Visits each schema of a document once."""

    def __init__(self, place: str, *, drops_unsupported: bool) -> None:
        self._place = place
        self._drops = drops_unsupported
        self._visited: dict[str, Schema] = {}
        """The schemas by their JSON pointers."""
        self._refs: list[tuple[str, str]] = []
        """Each reference with the path of its keyword."""
        self._choices = self._patterns = 0
        self.cost = 0.0

    def document(self, node: Json) -> Schema:
        schema = self._schema(node, self._place, "", 0)
        for ref, path in self._refs:
            if pointer(ref) not in self._visited:
                self._refuse(path, f"names no schema of this document: {ref[:SHOWN]}")
        self.cost = schema_costs.checked(self._visited, self._place)
        return schema

    def _schema(self, node: Json, path: str, place: str, depth: int) -> Schema:
        if isinstance(node, bool):
            self._visited[place] = node
            return node
        if not isinstance(node, dict):
            self._refuse(path, "must be a schema: an object, true or false")
        if depth > _MAX_DEPTH:
            self._refuse(path, f"is nested more than {_MAX_DEPTH} schemas deep")
        if len(self._visited) >= _MAX_SCHEMAS:
            self._refuse(self._place, f"has more than {_MAX_SCHEMAS} schemas")
        made: dict[str, Json] = {}
        self._visited[place] = made
        for keyword, value in node.items():
            if (is_annotation(keyword) and not (keyword == "$id" and place)) or is_needless(keyword, value):
                continue
            inner = f"{path}.{keyword[:SHOWN]}"
            if self._is_supported(keyword, value, inner):
                name = self._name(keyword, node)
                made[name] = self._value(name, value, inner, f"{place}/{name}", depth + 1)
        _replace_format(made)
        self._settle_counts(made, path)
        return made

    def _settle_counts(self, schema: dict[str, Json], path: str) -> None:
        """Leave out needless bounds of an object, and refuse one that cannot be held, or leave it out, too."""
        for keyword in object_counts.needless(schema):
            del schema[keyword]
        while (refused := object_counts.refused(schema)) is not None:
            keyword, reason = refused
            if not self._drops:
                self._refuse(f"{path}.{keyword}", reason)
            del schema[keyword]

    def _value(self, keyword: str, value: Json, path: str, place: str, depth: int) -> Json:
        if keyword in ONE_SCHEMA:
            return self._schema(value, path, place, depth)
        if keyword in MANY_SCHEMAS:
            return self._list(value, path, place, depth)
        if keyword in NAMED_SCHEMAS:
            return self._named(keyword, value, path, place, depth)
        self._count(keyword, value, path)
        return int(value) if keyword in COUNTS and isinstance(value, float) else value

    def _is_supported(self, keyword: str, value: Json, path: str) -> bool:
        """Whether to keep a keyword. Refuses one that is not supported, unless such keywords are left out."""
        if keyword in (*ONE_SCHEMA, *MANY_SCHEMAS, *NAMED_SCHEMAS):
            return True
        is_valid, form = VALUES.get(keyword, (None, ""))
        reason = "is not supported in a schema" if is_valid is None else f"must be {form}"
        is_supported = is_valid is not None and is_valid(value)
        if not is_supported and not self._drops:
            self._refuse(path, reason)
        return is_supported

    def _list(self, value: Json, path: str, place: str, depth: int) -> list[Schema]:
        if not isinstance(value, list) or not value:
            self._refuse(path, "must be a list with a schema")
        return [
            self._schema(node, f"{path}[{number}]", f"{place}/{number}", depth) for number, node in enumerate(value)
        ]

    def _named(self, keyword: str, value: Json, path: str, place: str, depth: int) -> dict[str, Schema]:
        if not isinstance(value, dict):
            self._refuse(path, "must be an object of schemas")
        if keyword == "patternProperties":
            value = self._with_supported_patterns(value, path)
        return {
            name: self._schema(node, f"{path}.{name[:SHOWN]}", f"{place}/{escaped(name)}", depth)
            for name, node in value.items()
        }

    def _with_supported_patterns(self, schemas: Mapping[str, Json], path: str) -> dict[str, Json]:
        """Return schemas by patterns. Refuses a pattern that is not supported, unless such patterns are left out."""
        supported = dict[str, Json]()
        for pattern, node in schemas.items():
            self._count("pattern", pattern, path)
            if patterns.is_supported(pattern):
                supported[pattern] = node
            elif not self._drops:
                self._refuse(f"{path}.{pattern[:SHOWN]}", f"must be {patterns.SUPPORTED}")
        return supported

    def _count(self, keyword: str, value: Json, path: str) -> None:
        """Check the size of a value."""
        if keyword == "$ref" and isinstance(value, str):
            self._refs.append((value, path))
        elif keyword == "pattern" and isinstance(value, str) and value not in PATTERNS.values():
            self._patterns += len(value)
            if len(value) > _MAX_PATTERN:
                self._refuse(path, f"has more than {_MAX_PATTERN} characters")
            if self._patterns > _MAX_PATTERNS:
                self._refuse(path, f"and the others have more than {_MAX_PATTERNS} characters")
        elif keyword in ("enum", "const"):
            self._choices += len(value) if keyword == "enum" and isinstance(value, Sequence) else 1
            if self._choices > MAX_CHOICES:
                self._refuse(path, f"and the others have more than {MAX_CHOICES} values")
            if _is_deeper(value, _MAX_VALUE_DEPTH):
                self._refuse(path, f"has a value that is nested more than {_MAX_VALUE_DEPTH} deep")

    def _name(self, keyword: str, node: Mapping[str, Json]) -> str:
        return "anyOf" if self._drops and keyword == "oneOf" and "anyOf" not in node else keyword

    @staticmethod
    def _refuse(path: str, reason: str) -> NoReturn:
        msg = f"{path} {reason}"
        raise ValidationError(msg, param=path)


def _replace_format(schema: dict[str, Json]) -> None:
    """Demand a pattern instead of a format that the compiler takes too loosely."""
    pattern = PATTERNS.get(str(schema.get("format")))
    if pattern is None:
        return
    del schema["format"]
    if "pattern" not in schema:
        schema["pattern"] = pattern
    else:
        parts = schema.get("allOf", [])
        schema["allOf"] = [*(parts if isinstance(parts, list) else []), {"pattern": pattern}]


def _is_deeper(value: Json, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [inner for one in level for inner in _contents(one)]
    return bool(level)


def _contents(value: Json) -> Iterable[Json]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()
