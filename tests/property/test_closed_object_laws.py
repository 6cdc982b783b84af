"""Laws of closed objects: values lose what their schema does not declare, and whatever had a value still has one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxknife.domain.tools.rules.closed_objects import closed

_NAMES = st.sampled_from(["a", "b", "c"])
_LEAVES = st.one_of(
    st.just(({"type": "integer"}, 7)), st.just(({"type": "string"}, "x")), st.just(({"enum": [{"z": 1}, 2]}, {"z": 1}))
)
Pair = tuple[dict[str, Any], Any]
_UNDECLARED = "z"


def _object(members: dict[str, Pair], kind: str) -> Pair:
    """Return the schema of an object in one of several forms, and a value with no more than the schema needs."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: part for name, (part, _) in members.items()},
        "required": sorted(members),
    }
    value = {name: one for name, (_, one) in members.items()}
    other = {"properties": {_UNDECLARED: {"const": 1}}, "required": [_UNDECLARED]}
    plain: dict[str, dict[str, Any]] = {
        "plain": schema,
        "one of two": {"anyOf": [{"type": "null"}, schema], "description": "maybe"},
    }
    open_: dict[str, dict[str, Any]] = {
        "needs another": {**schema, "required": [*members, _UNDECLARED]},
        "needs more": {**schema, "minProperties": len(members) + 1},
        "has others": {**schema, "additionalProperties": {"type": "integer"}},
        "in two parts": {"allOf": [schema, other]},
        "beside an alternative": {**schema, "anyOf": [{"type": "null"}, other]},
    }
    return (plain[kind], value) if kind in plain else (open_[kind], {**value, _UNDECLARED: 1})


def _composed(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    kinds = ["plain", "plain", "needs another", "needs more", "has others", "in two parts", "beside an alternative"]
    return st.one_of(
        st.builds(_object, st.dictionaries(_NAMES, inner, max_size=2), st.sampled_from([*kinds, "one of two"])),
        inner.map(lambda pair: ({"type": "array", "items": pair[0]}, [pair[1]])),
    )


@st.composite
def _pairs(draw: st.DrawFn) -> Pair:
    """A schema of an object, whose parts may be definitions, with a value that it allows."""
    pair = st.recursive(_LEAVES, _composed, max_leaves=5)
    schema, value = draw(st.dictionaries(_NAMES, pair, max_size=3).map(lambda members: _object(members, "plain")))
    for name in draw(st.sets(st.sampled_from(sorted(schema["properties"])))) if schema["properties"] else ():
        schema.setdefault("$defs", {})[name] = schema["properties"][name]
        schema["properties"][name] = {"$ref": f"#/$defs/{name}"}
    return schema, value


def _is_valid(schema: Any, value: object) -> bool:  # noqa: ANN401
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


@settings(max_examples=50)
@given(_pairs(), _pairs())
def test_a_value_without_undeclared_members_stays_valid_and_no_other_becomes_valid(pair: Pair, other: Pair) -> None:
    schema, value = pair
    before = json.dumps(schema)
    made = closed(schema)
    assert json.dumps(schema) == before
    assert closed(made) == made
    assert _is_valid(schema, value)
    assert _is_valid(made, value)
    assert not _is_valid(made, other[1]) or _is_valid(schema, other[1])


_A = {"properties": {"a": {"type": "integer"}}}
_OF_A: Any = {"$defs": {"A": _A}, "$ref": "#/$defs/A"}


@pytest.mark.parametrize(
    "schema",
    [
        _A,
        {"type": "object", **_OF_A},
        {"anyOf": [{"type": "null"}, _A]},
        {"allOf": [_A]},
        {"properties": {"a": True, "b": {"$ref": "#"}}},
        {"$defs": {"A": {"properties": {"a": {}, "b": {"$ref": "#/$defs/A"}}}}, "anyOf": [{"$ref": "#/$defs/A"}]},
    ],
    ids=json.dumps,
)
def test_an_object_that_declares_its_members_has_no_others(schema: Mapping[str, Any]) -> None:
    made = closed(schema)
    assert _is_valid(made, {"a": 1})
    assert _is_valid(schema, {"a": 1, _UNDECLARED: 1})
    assert not _is_valid(made, {"a": 1, _UNDECLARED: 1})


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {}},
        {**_A, "additionalProperties": True},
        {**_A, "additionalProperties": {"type": "integer"}},
        {**_A, "patternProperties": {"^z": {}}},
        {**_A, "required": [_UNDECLARED]},
        {**_A, "minProperties": 2},
        {**_A, "enum": [{"a": 1, _UNDECLARED: 1}]},
        {**_A, "anyOf": [{"properties": {"b": {}}}]},
        {"allOf": [_A, {"properties": {_UNDECLARED: {}}}]},
        {**_OF_A, "required": [_UNDECLARED]},
        {"$defs": {"A": _A, "B": {"$ref": "#/$defs/A"}}, "allOf": [{"$ref": "#/$defs/B"}, {"required": [_UNDECLARED]}]},
        {"properties": {"x": {"allOf": [{"$ref": "#/properties/a"}, {}]}, "a": True}, "required": [_UNDECLARED]},
    ],
    ids=json.dumps,
)
def test_an_object_that_may_need_other_members_stays_open(schema: Mapping[str, Any]) -> None:
    assert _is_valid(closed(schema), {"a": 1, _UNDECLARED: 1})
