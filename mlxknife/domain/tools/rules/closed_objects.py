"""Closed objects: what the grammar of a call makes of the objects in the schema of a tool that is not strict.

JSON Schema lets an object have members that its schema does not declare, and small models write such members. Clients
refuse them, because they call a function with the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from mlxknife.domain.constraints.rules.keywords import MANY_SCHEMAS, NAMED_SCHEMAS, ONE_SCHEMA
from mlxknife.domain.constraints.rules.pointers import pointer

Schema: TypeAlias = Mapping[str, Any]

_IN_PLACE = ("allOf", "anyOf", "oneOf", "$ref")
"""Keywords whose schemas describe the same value as the schema that has them."""
_BESIDE = (*_IN_PLACE, "type", "$defs", "definitions")
"""Keywords that demand nothing of the members of an object, except through the schemas of the first four."""
_KEEPS_OPEN = (*_IN_PLACE, "additionalProperties", "patternProperties", "const", "enum")


def closed(root: Schema) -> Schema:
    """Return a schema in which objects have only the members that they declare.

    An object stays open if it declares none, says which others it may have, needs one of them, or has to fulfil another
    schema too, which may declare more. So what had a valid value still has one.
    """
    return _closed(root, _shared(root))


def _closed(schema: Schema, shared: frozenset[int]) -> Schema:
    def rewritten(one: Any) -> Any:  # noqa: ANN401 - a schema may be true or false
        return _closed(one, shared) if isinstance(one, Mapping) else one

    made = dict(schema)
    for keyword, value in schema.items():
        if keyword in ONE_SCHEMA:
            made[keyword] = rewritten(value)
        elif keyword in MANY_SCHEMAS:
            made[keyword] = [rewritten(one) for one in value]
        elif keyword in NAMED_SCHEMAS:
            made[keyword] = {name: rewritten(one) for name, one in value.items()}
    if id(schema) not in shared and _declares_all(schema):
        made["additionalProperties"] = False
    return made


def _declares_all(schema: Schema) -> bool:
    """Whether a schema declares members, and no valid object needs others."""
    declared = schema.get("properties", {})
    if not declared or any(keyword in schema for keyword in _KEEPS_OPEN):
        return False
    return set(schema.get("required", ())) <= set(declared) and int(schema.get("minProperties", 0)) <= len(declared)


def _shared(root: Schema) -> frozenset[int]:
    """Return the identities of the schemas whose values have to fulfil another schema too."""
    pending = [part for schema in _all(root) if not _is_only(schema) for part in _in_place(schema, root)]
    found = set[int]()
    while pending:
        schema = pending.pop()
        if id(schema) not in found:
            found.add(id(schema))
            pending += _in_place(schema, root)
    return frozenset(found)


def _is_only(schema: Schema) -> bool:
    """Whether a value has to fulfil one schema in place of this one."""
    kinds = [keyword for keyword in _IN_PLACE if keyword in schema]
    return len(kinds) < 2 and len(schema.get("allOf", ())) < 2 and not schema.keys() - set(_BESIDE)  # noqa: PLR2004


def _in_place(schema: Schema, root: Schema) -> Iterator[Schema]:
    """Yield the schemas of the same value."""
    for keyword in _IN_PLACE[:-1]:
        yield from (part for part in schema.get(keyword, ()) if isinstance(part, Mapping))
    found: Any = root if "$ref" in schema else None
    for step in (pointer(schema.get("$ref", "#")) or "").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found[int(name)] if isinstance(found, list) else (found or {}).get(name)
    if isinstance(found, Mapping):
        yield found


def _all(root: Schema) -> Iterator[Schema]:
    """Yield a schema and those within it."""
    pending: list[Any] = [root]
    while pending:
        schema = pending.pop()
        if isinstance(schema, Mapping):
            yield schema
            pending += (schema[keyword] for keyword in ONE_SCHEMA if keyword in schema)
            pending += (one for keyword in MANY_SCHEMAS for one in schema.get(keyword, ()))
            pending += (one for keyword in NAMED_SCHEMAS for one in schema.get(keyword, {}).values())
