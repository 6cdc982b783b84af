"""Which part of a schema a compiler refuses: it names no place, so parts are compiled on their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mlxknife.domain.constraints.rules.keywords import MANY_SCHEMAS, NAMED_SCHEMAS, ONE_SCHEMA, Json
from mlxknife.domain.constraints.rules.pointers import escaped, pointer
from mlxknife.domain.constraints.rules.schemas import SHOWN, Schema
from mlxknife.domain.constraints.values import GrammarRefused, Refusal

Keys: TypeAlias = tuple[str | int, ...]
"""The way from the root to a schema or to a keyword."""

_ROOT = "root"
_PREFIX = f"#/$defs/{_ROOT}"
_DEFINITIONS = ("$defs", "definitions")
_NAMED_FIRST = (
    *("oneOf", "minProperties", "maxProperties", "maxLength", "minLength", "pattern", "format", "patternProperties"),
    *("maxItems", "minItems", "maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "multipleOf", "enum"),
    *("const", "allOf", "anyOf", "$ref", "additionalProperties", "required", "prefixItems", "items", "type"),
)
"""Where several keywords contradict one another, the first of these is named."""


class PartFinder:
    """Finds the smallest part of one schema that is refused."""

    def __init__(
        self, root: Schema, compiled: Callable[[Schema], GrammarRefused | None], has_time: Callable[[], bool]
    ) -> None:
        """Take a schema that ``schemas.parse`` returned, what compiles schemas, and whether to go on.

        ``compiled`` returns the error of a schema, or None.
        """
        self._root = root
        self._compiled = compiled
        self._has_time = has_time
        self._moved = _moved(root)
        self._seen: set[Keys] = {()}

    def part(self, refused: GrammarRefused) -> tuple[Keys, GrammarRefused]:
        """Return the way to the keyword or the schema because of which the whole one is refused, and its own error."""
        keys: Keys = ()
        kind = refused.refusal
        while self._has_time():
            inner = [one for one in self._inner(keys, kind) if one not in self._seen]
            self._seen.update(inner)
            found = self._first(inner, kind)
            if found is None:
                break
            keys = found
        own = self._error(_without_definitions(_at(self._moved, keys))) if keys else None
        return self._keyword(keys, kind), own or refused

    def _first(self, parts: Sequence[Keys], kind: Refusal) -> Keys | None:
        """Return the first of some parts that is refused, by halves."""
        if not parts or self._group(parts, kind) is not kind:
            return None
        while len(parts) > 1:
            half = parts[: len(parts) // 2]
            if not self._has_time():
                return None
            parts = half if self._group(half, kind) is kind else parts[len(parts) // 2 :]
        return parts[0]

    def _group(self, parts: Sequence[Keys], kind: Refusal) -> Refusal | None:
        """Return why a schema is refused that compiles all of some parts."""
        members = [_without_definitions(_at(self._moved, keys)) for keys in parts]
        if kind is Refusal.NO_VALUE:
            return self._refused({"prefixItems": members, "minItems": len(members), "type": "array"})
        return self._refused({"anyOf": members})

    def _keyword(self, keys: Keys, kind: Refusal) -> Keys:
        """Return the way to the keyword without which a schema is not refused; to the schema, if there is none."""
        schema = _at(self._moved, keys)
        if isinstance(schema, bool):
            return keys
        for keyword in _NAMED_FIRST:
            if keyword in schema and self._has_time():
                rest = {name: value for name, value in schema.items() if name != keyword}
                if self._refused(_without_definitions(rest)) is not kind:
                    return *keys, keyword
        return keys

    def _refused(self, schema: Schema) -> Refusal | None:
        error = self._error(schema)
        return None if error is None else error.refusal

    def _error(self, schema: Schema) -> GrammarRefused | None:
        if isinstance(schema, bool) or not _has_reference(schema):
            return self._compiled(schema)
        return self._compiled({**schema, "$defs": {_ROOT: self._moved}})

    def _inner(self, keys: Keys, kind: Refusal) -> Iterator[Keys]:
        """Yield the ways to the schemas that a schema needs; with ``NO_VALUE`` those without which it has no value."""
        schema = _at(self._root, keys)
        if isinstance(schema, bool):
            return
        for steps in _steps(schema):
            if steps[0] not in _DEFINITIONS and (kind is not Refusal.NO_VALUE or _is_needed(schema, steps)):
                yield (*keys, *steps)
        target = _target(self._root, schema.get("$ref"))
        if target is not None:
            yield target


def without(root: Schema, keys: Keys) -> Schema:
    """Return a schema without the keyword at the end of a way; a schema there becomes one that allows everything."""
    if not keys or isinstance(root, bool):
        return True
    made = _copied(root)
    holder: Any = made
    for key in keys[:-1]:
        holder = holder[key]
    if _ends_with_schema(keys):
        holder[keys[-1]] = True
    else:
        del holder[keys[-1]]
    return made


def path(keys: Keys, place: str) -> str:
    """Return a way as errors show it; ``place`` names the root."""
    return place + "".join(f"[{key}]" if isinstance(key, int) else f".{key[:SHOWN]}" for key in keys)


def _ends_with_schema(keys: Keys) -> bool:
    number = 0
    while number < len(keys):
        number += 1 if keys[number] in ONE_SCHEMA else 2
    return number == len(keys)


def _is_needed(schema: Mapping[str, Json], steps: Keys) -> bool:
    """Whether a schema has no value if one inside of it has none."""
    keyword, name = steps[0], steps[-1]
    least, prefix = schema.get("minItems", 0), schema.get("prefixItems", ())
    match keyword:
        case "allOf":
            return True
        case "properties":
            return name in _list(schema.get("required"))
        case "prefixItems":
            return isinstance(least, int) and isinstance(name, int) and name < least
        case "items":
            return isinstance(least, int) and least > len(_list(prefix))
        case "anyOf" | "oneOf":
            return len(_list(schema[keyword])) == 1
    return False


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _steps(schema: Mapping[str, Json]) -> Iterator[Keys]:
    """Yield the way from a schema to each one directly inside of it."""
    for keyword, value in schema.items():
        if keyword in ONE_SCHEMA:
            yield (keyword,)
        elif keyword in MANY_SCHEMAS and isinstance(value, list):
            yield from ((keyword, number) for number in range(len(value)))
        elif keyword in NAMED_SCHEMAS and isinstance(value, Mapping):
            yield from ((keyword, name) for name in value)


def _at(root: Any, keys: Keys) -> Schema:  # noqa: ANN401 - the way leads to a schema
    for key in keys:
        root = root[key]
    return root  # type: ignore[no-any-return] # likewise


def _target(root: Schema, ref: Json) -> Keys | None:
    """Return the way to the schema that a reference names."""
    if not isinstance(ref, str):
        return None
    wanted = pointer(ref)
    for keys in _ways(root):
        if "".join(f"/{escaped(str(key))}" for key in keys) == wanted:
            return keys
    return None


def _ways(root: Schema) -> Iterator[Keys]:
    """Yield the way to each schema in a document."""
    pending: list[Keys] = [()]
    while pending:
        keys = pending.pop()
        yield keys
        schema = _at(root, keys)
        if not isinstance(schema, bool):
            pending += [(*keys, *steps) for steps in _steps(schema)]


def _moved(root: Schema) -> Schema:
    """Return a document whose references hold where it is a definition of another one."""
    if isinstance(root, bool):
        return root
    made = _copied(root)
    for keys in _ways(made):
        schema = _at(made, keys)
        if not isinstance(schema, bool) and isinstance(schema.get("$ref"), str):
            schema["$ref"] = f"{_PREFIX}{str(schema['$ref'])[1:]}"
    return made


def _copied(root: Mapping[str, Json]) -> dict[str, Json]:
    """Return a copy of a document; the values of ``enum`` and ``const`` are shared."""
    return {keyword: _copied_value(keyword, value) for keyword, value in root.items()}


def _copied_value(keyword: str, value: Json) -> Json:
    if keyword in MANY_SCHEMAS and isinstance(value, list):
        return [_copied(one) if isinstance(one, Mapping) else one for one in value]
    if keyword in NAMED_SCHEMAS and isinstance(value, Mapping):
        return {name: _copied(one) if isinstance(one, Mapping) else one for name, one in value.items()}
    return _copied(value) if keyword in ONE_SCHEMA and isinstance(value, Mapping) else value


def _without_definitions(schema: Schema) -> Schema:
    if isinstance(schema, bool):
        return schema
    return {keyword: value for keyword, value in schema.items() if keyword not in _DEFINITIONS}


def _has_reference(schema: Mapping[str, Json]) -> bool:
    inner = (_at(schema, keys) for keys in _ways(dict(schema)))
    return any(not isinstance(one, bool) and "$ref" in one for one in inner)
