"""Hypothesis strategies for JSON schemas with supported keywords, and for schemas with an instance."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from hypothesis import strategies as st

Schema: TypeAlias = "dict[str, Any]"

_NAMES = st.sampled_from(["a", "b", "name", "é", 'x"y', "a b"])
_VALUES = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text('ab\u00e9"\\\n', max_size=4))
_FORMATS = ("date", "date-time", "time", "ipv4", "uuid", "email")
_PATTERNS = ("^[a-c]+$", "b", "^x?y{2,3}", "[0-9]$")


@st.composite
def _strings(draw: st.DrawFn) -> Schema:
    schema: Schema = {"type": "string"}
    kind = draw(st.sampled_from(["plain", "length", "pattern", "format"]))
    if kind == "length":
        low = draw(st.integers(0, 4))
        schema |= {"minLength": low, "maxLength": low + draw(st.integers(0, 4))}
    elif kind == "pattern":
        schema["pattern"] = draw(st.sampled_from(_PATTERNS))
    elif kind == "format":
        schema["format"] = draw(st.sampled_from(_FORMATS))
    return schema


@st.composite
def _numbers(draw: st.DrawFn) -> Schema:
    schema: Schema = {"type": draw(st.sampled_from(["integer", "number"]))}
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = draw(st.integers(-50, 50))
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = draw(st.integers(51, 500))
    if schema["type"] == "integer" and draw(st.booleans()):
        schema["multipleOf"] = draw(st.integers(1, 12))
    return schema


_LEAVES = st.one_of(
    _strings(),
    _numbers(),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({}),
    st.builds(lambda values: {"enum": values}, st.lists(_VALUES, min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, _VALUES),
    st.just({"type": ["integer", "null"]}),
)


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(_NAMES, inner, max_size=4))
    schema: Schema = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    rest = draw(st.sampled_from(["any", "none", "schema"]))
    if rest != "any":
        schema["additionalProperties"] = False if rest == "none" else draw(inner)
    if draw(st.integers(0, 3)) == 0:
        schema[draw(st.sampled_from(["minProperties", "maxProperties"]))] = draw(st.integers(0, 4))
    return schema


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    low = draw(st.integers(0, 2))
    schema: Schema = {"type": "array", "items": draw(inner), "minItems": low, "maxItems": low + draw(st.integers(0, 2))}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
    return schema


def _composed(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        _objects(inner),
        _arrays(inner),
        st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"allOf": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda part: {"$defs": {"d": part}, "$ref": "#/$defs/d"}, inner),
    )


def _has_one_reference(schema: Schema) -> bool:
    """Whether there is at most one reference, at the root: one further inside would name no definition."""
    return str(schema).count("$ref") <= ("$ref" in schema)


def schemas() -> st.SearchStrategy[Schema]:
    """Schemas of every supported kind; some allow no instance."""
    return st.recursive(_LEAVES, _composed, max_leaves=8).filter(_has_one_reference)


@st.composite
def instances(draw: st.DrawFn) -> tuple[Schema, Any]:
    """A schema of objects, lists and plain values, and an instance with the properties in their order."""
    leaf = st.one_of(
        st.integers(-(10**6), 10**6).map(lambda value: ({"type": "integer"}, value)),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=9).map(
            lambda value: ({"type": "string"}, value)
        ),
        st.booleans().map(lambda value: ({"type": "boolean"}, value)),
        _VALUES.map(lambda value: ({"enum": [value, "else"]}, value)),
    )
    pairs = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.dictionaries(_NAMES, inner, max_size=4).map(
                lambda parts: (
                    {
                        "type": "object",
                        "properties": {name: schema for name, (schema, _) in parts.items()},
                        "required": list(parts),
                        "additionalProperties": False,
                    },
                    {name: value for name, (_, value) in parts.items()},
                )
            ),
            st.tuples(inner, st.integers(0, 3)).map(
                lambda pair: ({"type": "array", "items": pair[0][0]}, [pair[0][1]] * pair[1])
            ),
        ),
        max_leaves=6,
    )
    schema, instance = draw(pairs)
    assert json.dumps(instance)
    return schema, instance
