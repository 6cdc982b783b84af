"""Which JSON schemas a constraint may have: supported keywords, references, limits, and the lenient form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlxknife.domain.constraints.rules import schemas
from mlxknife.domain.errors import ValidationError

_STRING = {"type": "string"}


def _parsed(schema: object) -> schemas.Schema:
    return schemas.parse(json.dumps(schema), "constraint")


def _refused(schema: object, place: str) -> str:
    """Return the message for a schema that is refused, with the place that the error names."""
    text = schema if isinstance(schema, str) else json.dumps(schema)
    with pytest.raises(ValidationError) as caught:
        schemas.parse(text, "constraint")
    assert caught.value.param == place
    assert caught.value.message.startswith(place)
    return caught.value.message


def test_annotations_are_left_out() -> None:
    described: dict[str, object] = {
        "title": "T",
        "$schema": "x",
        "$id": "y",
        "properties": {"title": _STRING | {"description": "d"}},
    }
    described |= {"x-order": 1, "examples": [1], "default": {"not": {}}, "readOnly": True, "discriminator": {}}
    assert _parsed(described) == {"properties": {"title": _STRING}}


@pytest.mark.parametrize(
    "keyword",
    [
        *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "dependentRequired"),
        *("dependentSchemas", "propertyNames", "unevaluatedProperties", "unevaluatedItems", "additionalItems"),
        *("$anchor", "$dynamicRef", "$vocabulary", "nullable", "anyof", ""),
    ],
)
def test_an_unsupported_keyword_is_refused_by_its_path(keyword: str) -> None:
    place = f"constraint.properties.a.items.{keyword}"
    assert "not supported" in _refused({"properties": {"a": {"items": {keyword: 1}}}}, place)
    _refused({"anyOf": [True, {keyword: {"type": "string"}}]}, f"constraint.anyOf[1].{keyword}")


def test_keywords_with_values_that_change_nothing_are_left_out() -> None:
    needless: dict[str, object] = {"uniqueItems": False, "nullable": False, "not": False, "propertyNames": {}}
    needless |= {"unevaluatedProperties": True, "dependentRequired": {}, "minProperties": 0, "contentMediaType": "a/b"}
    assert _parsed({"items": {"type": "array", **needless}}) == {"items": {"type": "array"}}
    _refused({"uniqueItems": 0}, "constraint.uniqueItems")
    _refused({"propertyNames": False}, "constraint.propertyNames")


def test_a_format_is_enforced_or_refused_unless_it_only_annotates() -> None:
    for name in ("int32", "int64", "float", "double", "password", "path", "byte", "binary"):
        assert _parsed({"type": "string", "format": name}) == _STRING
    for name in ("iri", "uuid4", "regex", "idn-email", "json-pointer", "unknown", ""):
        _refused({"format": name}, "constraint.format")


_AB = {"a": _STRING, "b": _STRING}
_CLOSED = {"properties": _AB, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "bounds", "kept"),
    [
        ({"properties": _AB, "required": ["a"]}, {"minProperties": 1}, {}),
        ({"required": ["a", "b"]}, {"minProperties": 2}, {}),
        (_CLOSED, {"maxProperties": 2}, {}),
        (_CLOSED, {"minProperties": 1}, {"minProperties": 1}),
        (_CLOSED, {"minProperties": 1, "maxProperties": 1}, {"minProperties": 1, "maxProperties": 1}),
        (_CLOSED | {"required": ["a"]}, {"minProperties": 2, "maxProperties": 7}, {"minProperties": 2}),
        ({}, {"minProperties": 1, "maxProperties": 9}, {"minProperties": 1, "maxProperties": 9}),
        ({"properties": _AB, "required": ["a", "b"]}, {"minProperties": 3}, {"minProperties": 3}),
    ],
)
def test_bounds_of_an_object_that_hold_anyway_are_left_out(schema: Any, bounds: Any, kept: Any) -> None:  # noqa: ANN401
    assert _parsed(schema | bounds) == schema | kept


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"minProperties": 2}, "minProperties"),
        ({"patternProperties": {"^a": True}, "additionalProperties": False, "minProperties": 2}, "minProperties"),
        ({"properties": _AB, "minProperties": 1}, "minProperties"),
        ({"properties": _AB, "required": ["a"], "minProperties": 2}, "minProperties"),
        ({"properties": _AB, "maxProperties": 1}, "maxProperties"),
        (_CLOSED | {"minProperties": 2}, "minProperties"),
        (_CLOSED | {"required": ["a"], "maxProperties": 1}, "maxProperties"),
    ],
)
def test_bounds_of_an_object_that_cannot_be_held_are_refused_by_their_path(schema: Any, keyword: str) -> None:  # noqa: ANN401
    assert "cannot be held" in _refused({"items": schema}, f"constraint.items.{keyword}")
    lenient = schemas.parse_lenient(json.dumps(schema), "tools[0]")
    assert lenient == {name: value for name, value in schema.items() if name != keyword}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *(("type", "text"), ("type", []), ("enum", []), ("enum", "a"), ("required", "a"), ("required", [1])),
        *(("minLength", -1), ("maxLength", 1.5), ("minItems", "1"), ("maxItems", True), ("minimum", "1")),
        *(
            ("minimum", 10**400),
            ("minLength", 10**400),
            ("exclusiveMinimum", True),
            ("multipleOf", 0),
            ("pattern", 1),
            ("format", "iri"),
            ("$ref", "http://x/y"),
        ),
        *(("items", [_STRING]), ("anyOf", []), ("allOf", {}), ("properties", []), ("additionalProperties", "no")),
    ],
)
def test_a_keyword_with_a_wrong_value_is_refused(keyword: str, value: object) -> None:
    _refused({"properties": {"a": {keyword: value}}}, f"constraint.properties.a.{keyword}")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "7", '"a"', '{"minimum": NaN}', '{"minimum": 1e400}'])
def test_a_text_that_is_no_schema_is_refused(text: str) -> None:
    _refused(text, "constraint.minimum" if "e400" in text else "constraint")


def test_references_name_schemas_of_the_document() -> None:
    defs = {"a/b": _STRING, "c~d": {"items": {"$ref": "#"}}, "Foo[int]": True}
    for name in ("a~1b", "c~0d", "Foo%5Bint%5D", "c~0d/items"):
        assert _parsed({"$defs": defs, "$ref": f"#/$defs/{name}"}) == {"$defs": defs, "$ref": f"#/$defs/{name}"}
    for ref in ("#/$defs/x", "#a", "#/$defs", "#/$defs/a/b", "#/%ff", "#/properties/x"):
        assert "no schema of this document" in _refused({"$defs": defs, "$ref": ref}, "constraint.$ref")


def _nested(depth: int) -> Any:  # noqa: ANN401 - a schema
    return {"items": _nested(depth - 1)} if depth else True


def _alternatives(count: int) -> dict[str, object]:
    """Return a schema whose normal form has twice as many alternatives for each count more."""
    pairs = [[{"type": "object", "properties": {f"{name}{part}": _STRING}} for name in "ab"] for part in range(count)]
    return {"allOf": [{"anyOf": pair} for pair in pairs]}


def _patterns(count: int, *, is_nested: bool = False, key: str | None = None) -> dict[str, object]:
    """Return a schema of texts that patterns match together, or of objects with one of these texts."""
    parts: list[dict[str, object]] = [{"pattern": f"(a|b){{{number + 5}}}c"} for number in range(count)]
    if not is_nested:
        return {"allOf": parts if key is None else [{"properties": {key: part}} for part in parts]}
    schema: dict[str, object] = {"type": "string"}
    for part in parts:
        schema = {**part, "allOf": [schema]}
    return schema


def _chain(count: int, ref: str = "#/$defs/a") -> dict[str, object]:
    """Return a schema that refers to another one, which refers to another one."""
    defs: dict[str, object] = {f"a{number}": {"$ref": f"{ref}{number + 1}"} for number in range(count)}
    return {"$defs": {**defs, f"a{count}": True}, "$ref": f"{ref}0", "properties": {}}


def _ring(count: int) -> dict[str, object]:
    """Return a schema of lists of lists, the last of which is a list of the first."""
    defs = {f"a{number}": {"items": {"$ref": f"#/$defs/a{(number + 1) % count}"}} for number in range(count)}
    return {"$defs": defs, "properties": {f"p{number}": {"$ref": "#/$defs/a0"} for number in range(300)}}


def _properties(count: int) -> dict[str, object]:
    return {"properties": {f"p{number}": _STRING for number in range(count)}}


@pytest.mark.parametrize(
    ("allowed", "refused", "place"),
    [
        (_properties(900), _properties(1_100), "constraint"),
        (_properties(9), _properties(10_000), "constraint"),
        ({"enum": list(range(5_000))}, {"enum": list(range(5_001))}, "constraint.enum"),
        ({"enum": ["a"]}, {"enum": [str(number) for number in range(100_000)]}, "constraint"),
        (_nested(41), _nested(42), f"constraint{'.items' * 41}"),
        (_alternatives(7), _alternatives(8), "constraint"),
        (_patterns(12), _patterns(13), "constraint"),
        (_patterns(12, is_nested=True), _patterns(13, is_nested=True), "constraint"),
        (_patterns(12, key="a"), _patterns(13, key="a"), "constraint"),
        (_chain(200), _chain(300), "constraint"),
        (_chain(200), _chain(4_000, "#/%24defs/a"), "constraint"),
        (_ring(100), _ring(130), "constraint"),
        ({"multipleOf": 0.001}, {"multipleOf": 1e-300}, "constraint"),
        ({"multipleOf": 10_000}, {"multipleOf": 100_000_007}, "constraint"),
        (
            {"allOf": [{"multipleOf": 97}, {"multipleOf": 103}]},
            {"allOf": [{"multipleOf": 9_999}, {"multipleOf": 9_998}]},
            "constraint",
        ),
        ({"pattern": "a" * 1_024}, {"pattern": "a" * 1_025}, "constraint.pattern"),
        (
            {"items": {"enum": list(range(2_000))}},
            {"allOf": [{"enum": list(range(2_000))}, {"enum": list(range(2_000))}]},
            "constraint",
        ),
        ({"const": [[]]}, f'{{"const": {"[" * 900}{"]" * 900}}}', "constraint.const"),
        (True, '{"items": ' * 1_000 + "true" + "}" * 1_000, "constraint"),
        ({"description": "x"}, {"description": "x" * 300_000}, "constraint"),
        (
            {"prefixItems": [{"pattern": "a" * 1_000}] * 16},
            {"prefixItems": [{"pattern": "a" * 1_000}] * 17},
            "constraint.prefixItems[16].pattern",
        ),
    ],
)
def test_a_schema_beyond_a_limit_is_refused(allowed: object, refused: object, place: str) -> None:
    _parsed(allowed)
    _refused(refused, place)


def test_a_recursive_schema_costs_no_more_than_its_text() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}
    recursive = {"$defs": {"tree": tree}, "allOf": [{"$ref": "#/$defs/tree"}, {"required": ["children"]}]}
    assert _parsed(recursive) == recursive
    _parsed({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}, {}]}}, "$ref": "#/$defs/a"})


def test_formats_that_become_patterns_do_not_count_as_patterns_when_a_schema_is_measured() -> None:
    dates = {f"d{number}": {"type": "string", "format": "date-time"} for number in range(200)}
    assert schemas.cost(_parsed({"properties": dates})) > 1


def test_the_lenient_form_leaves_out_what_is_not_supported() -> None:
    schema = {
        "propertyNames": {"pattern": "^a"},
        "properties": {"a": _STRING | {"format": "iri", "not": {}}, "b": {"oneOf": [_STRING, {"type": "null"}]}},
        "items": {"$ref": "http://example.org/x", "minItems": "many"},
        "oneOf": [{"$ref": "#/properties/a"}, True],
    }
    assert schemas.parse_lenient(json.dumps(schema), "tools[0]") == {
        "properties": {"a": _STRING, "b": {"anyOf": [_STRING, {"type": "null"}]}},
        "items": {},
        "anyOf": [{"$ref": "#/properties/a"}, True],
    }
    for text in ("[]", json.dumps(_properties(3_000)), '{"properties": 1}'):
        with pytest.raises(ValidationError) as caught:
            schemas.parse_lenient(text, "tools[0]")
        assert str(caught.value.param).startswith("tools[0]")


@pytest.mark.parametrize(
    "pattern",
    ["^(?!a)b$", "a(?=b)", "(?<=a)b", "(?<!a)b", r"(a)\1", r"(?<n>a)\k<n>", r"\bword", "(a", "a)(b", "[a", "a\\"],
)
def test_an_unsupported_pattern_is_refused_by_its_path_and_left_out_of_a_lenient_schema(pattern: str) -> None:
    schema = {"properties": {"a": _STRING | {"pattern": pattern}}, "patternProperties": {pattern: True}}
    _refused(schema, "constraint.properties.a.pattern")
    _refused({"patternProperties": {pattern: True}}, f"constraint.patternProperties.{pattern}")
    lenient = schemas.parse_lenient(json.dumps(schema), "constraint")
    assert lenient == {"properties": {"a": _STRING}, "patternProperties": {}}


@pytest.mark.parametrize(
    "pattern",
    [r"^\(\[\?=$", "[(]", "[]a]", "[^]b]", "(?:a|b)", "(?<name>a)", "(?P<n>a)", r"[\b]", r"[\]]", r"\p{L}", ""],
)
def test_other_patterns_are_taken(pattern: str) -> None:
    assert _parsed({"pattern": pattern}) == {"pattern": pattern}
