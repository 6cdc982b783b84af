"""Parameters: the schema of a tool as formats need it that are not JSON, where each argument has a form of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

import attrs

from mlxknife.domain.errors import ValidationError

Schema: TypeAlias = Mapping[str, Any]

_MAX_REFERENCES = 16
_ANNOTATIONS = frozenset(
    "title description default examples $schema $id $comment $defs definitions deprecated readOnly writeOnly".split()
)
_OBJECT = frozenset(["type", "properties", "required", "additionalProperties"])
_KEY = re.compile(r"""[^\s:=,(){}\[\]<>"'\\/]+""")
"""A name that every format can write without quotes."""
_OWN_REFERENCES = ("#/$defs/", "#/definitions/")


@attrs.frozen
class Parameter:
    """One parameter of a tool, or a member of an object."""

    name: str
    schema: Schema
    is_required: bool


@attrs.frozen
class Members:
    """The members of an object."""

    declared: tuple[Parameter, ...]
    others: Schema | None
    """The schema of members that are not declared; None if there may be none."""


class ToolSchema:
    """The schema of one tool. What a format cannot express is refused if the tool is strict, and ignored otherwise."""

    def __init__(self, root: Schema, param: str, *, is_strict: bool) -> None:
        """Take the schema, and the field of the request that holds it."""
        self._root = root
        self._param = param
        self.is_strict = is_strict

    @property
    def json(self) -> Schema:
        """The schema of the arguments for a format that writes them as JSON."""
        return {**self._root, "type": "object"}

    def within(self, name: str, key: str) -> Schema | None:
        """Return the schema of a call: an object with the name of the tool, and the arguments under a key.

        It is None where a reference of the schema would mean another place then.
        """
        defined = self._defined()
        if not all(reference.startswith(_OWN_REFERENCES) for reference in _references(self._root)):
            return None
        arguments = {field: value for field, value in self.json.items() if field not in defined}
        return {
            "type": "object",
            "properties": {"name": {"const": name}, key: arguments},
            "required": ["name", key],
            "additionalProperties": False,
            **defined,
        }

    def members(self, schema: Schema | None = None) -> Members:
        """Return the members of an object, by default of the arguments.

        Raises ValidationError for a schema that the format cannot express.
        """
        resolved = self.resolved(self._root if schema is None else schema)
        self.check(resolved, _OBJECT)
        properties, required = resolved.get("properties", {}), resolved.get("required", ())
        others = resolved.get("additionalProperties", True)
        free: Schema | None = None if others is False else others if isinstance(others, Mapping) else {}
        schemas = {name: {} if one is True else one for name, one in properties.items() if one is not False}
        schemas |= {name: free for name in required if name not in properties and free is not None}
        if lacking := sorted(set(required) - set(schemas)):
            self.refuse(f"the required {lacking[0]!r} is not allowed")
        declared = [Parameter(name, one, name in required) for name, one in schemas.items() if self._is_writable(name)]
        return Members(tuple(declared), None if declared else free)

    def alternatives(self, schema: Schema) -> list[Schema]:
        """Return the schemas of which a value has one, each with one type at most."""
        return self._alternatives(schema, {}) or [self._any("its alternatives allow no value")]

    def _alternatives(self, schema: Schema | bool, known: dict[int, Schema]) -> list[Schema]:  # noqa: FBT001 - a schema may be true or false
        """Return the alternatives of a schema, or none if it is known by its identity: many may refer to one.

        Branches of ``oneOf`` do not share what they add to ``known``: two that are the same have to be found.
        """
        if isinstance(schema, bool):
            return [{}] if schema else []
        resolved = self.resolved(schema)
        if id(resolved) in known:
            return []
        known[id(resolved)] = resolved
        for name in ("anyOf", "oneOf"):
            if name in resolved and not set(resolved) - _ANNOTATIONS - {name}:
                parts = [
                    one
                    for part in resolved[name]
                    for one in self._alternatives(part, known if name == "anyOf" else dict(known))
                ]
                kinds = [part.get("type") for part in parts]
                if name == "oneOf" and len(set(map(str, kinds))) < len(kinds):
                    self.refuse("oneOf with two schemas of the same type")
                return parts
        if isinstance(resolved.get("type"), list):
            return [{**resolved, "type": kind} for kind in resolved["type"]]
        return [resolved]

    def resolved(self, schema: Schema) -> Schema:
        """Return the schema to which a schema refers, or which is all that it consists of."""
        for _ in range(_MAX_REFERENCES):
            match schema:
                case {"$ref": str(reference)}:
                    schema = self._referenced(reference)
                case {"allOf": [Mapping() as only], **others} if not set(others) - _ANNOTATIONS:
                    schema = only
                case _:
                    return schema
        return self._any("$ref refers to itself")

    def document(self, schema: Schema) -> Schema:
        """Return a schema that stands alone, for a value that is written as JSON."""
        references = _references(schema)
        if not references:
            return schema
        defined = self._defined()
        references += [one for parts in defined.values() for one in _references(parts)]
        if all(reference.startswith(_OWN_REFERENCES) for reference in references):
            return {**schema, **defined}
        return self._any("a $ref may only refer to $defs and definitions")

    def check(self, schema: Schema, known: frozenset[str]) -> None:
        """Refuse a keyword that the format cannot express; raises ValidationError for a strict tool."""
        if unknown := sorted(set(schema) - _ANNOTATIONS - known):
            self.refuse(f"the keyword {unknown[0]!r} is not supported at this place")

    def refuse(self, reason: str) -> None:
        """Raise ValidationError for a strict tool."""
        if self.is_strict:
            self.fail(reason)

    def fail(self, reason: str) -> NoReturn:
        """Raise ValidationError."""
        msg = f"{self._param} cannot be enforced in the format in which this model calls tools: {reason}"
        raise ValidationError(msg, param=self._param)

    def _defined(self) -> dict[str, Any]:
        return {name: self._root[name] for name in ("$defs", "definitions") if name in self._root}

    def _is_writable(self, name: str) -> bool:
        if _KEY.fullmatch(name):
            return True
        self.refuse(f"the name {name!r}")
        return False

    def _referenced(self, reference: str) -> Schema:
        found: Any = self._root
        for step in reference.removeprefix("#").removeprefix("/").split("/") if reference.startswith("#") else ("",):
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else self._any(f"$ref {reference!r} refers to nothing")

    def _any(self, reason: str) -> Schema:
        """Return the schema of any value in place of one that the format cannot express."""
        self.refuse(reason)
        return {}


def _references(value: object) -> list[str]:
    """Return the references in a schema."""
    found, pending = list[str](), [value]
    while pending:
        match pending.pop():
            case Mapping() as schema:
                found += [one for name, one in schema.items() if name == "$ref" and isinstance(one, str)]
                pending += schema.values()
            case list() as items:
                pending += items
    return found
