"""Laws of the search for the part of a schema that is refused: it finds the one planted part, wherever it is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.constraints.rules import refused_parts, schemas
from mlxknife.domain.constraints.values import GrammarRefused, Refusal
from mlxknife.domain.errors import ValidationError
from tests.json_schemas import schemas as any_schemas

_PLANTED = {"oneOf": [True, True]}
_ERROR = GrammarRefused(Refusal.OVERLAPPING_BRANCHES)


def _resolved(root: Any, ref: str) -> Any:  # noqa: ANN401
    for name in ref.removeprefix("#").split("/")[1:]:
        root = root[int(name) if isinstance(root, list) else name.replace("~1", "/").replace("~0", "~")]
    return root


def _compiled(root: Any) -> GrammarRefused | None:  # noqa: ANN401
    """Refuse a schema that needs one with ``oneOf``; definitions count where they are referred to."""
    pending, seen = [root], set[int]()
    while pending:
        match pending.pop():
            case Mapping() as schema if id(schema) not in seen:
                seen.add(id(schema))
                if "oneOf" in schema:
                    return _ERROR
                pending += [value for name, value in schema.items() if name not in ("$defs", "enum", "const")]
                pending += [_resolved(root, schema["$ref"])] if "$ref" in schema else []
            case list() as items:
                pending += items
    return None


@st.composite
def _planted(draw: st.DrawFn) -> tuple[dict[str, Any], refused_parts.Keys]:
    """A parsed schema with one refused part, and the way to its keyword."""
    try:
        parsed = schemas.parse(json.dumps(draw(any_schemas())), "x")
    except ValidationError:
        parsed = {"items": {"properties": {"properties": {"items": {}}}}}
    assert isinstance(parsed, dict)
    way: refused_parts.Keys = draw(st.sampled_from(list(_ways(parsed))))
    node: Any = parsed
    for key in way:
        node = node[key]
    node.update(_PLANTED)
    return parsed, (*way, "oneOf")


def _ways(node: Any) -> Any:  # noqa: ANN401
    """Yield the ways to the schemas that are objects."""
    yield ()
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from ((keyword, *way) for way in _ways(node[keyword]))
    for keyword in ("properties", "$defs", "anyOf", "allOf", "prefixItems"):
        inner = node.get(keyword, {})
        for key, one in inner.items() if isinstance(inner, dict) else enumerate(inner):
            yield from ((keyword, key, *way) for way in (_ways(one) if isinstance(one, dict) else ()))


@given(_planted())
def test_the_planted_part_is_found_and_nothing_is_refused_without_it(case: tuple[dict[str, Any], Any]) -> None:
    schema, way = case
    before = json.dumps(schema)
    keys, error = refused_parts.PartFinder(schema, _compiled, lambda: True).part(_ERROR)
    assert keys == way
    assert error is _ERROR
    assert _compiled(refused_parts.without(schema, keys)) is None
    assert json.dumps(schema) == before


@given(_planted(), st.integers(0, 12))
def test_a_search_that_is_ended_names_a_part_that_contains_it(case: tuple[dict[str, Any], Any], count: int) -> None:
    schema, way = case
    looked = itertools.count()
    keys, _ = refused_parts.PartFinder(schema, _compiled, lambda: next(looked) < count).part(_ERROR)
    assert keys == way[: len(keys)] or way[0] != "$defs"
