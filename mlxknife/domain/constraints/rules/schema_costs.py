"""What it costs to compile a schema: the compiler multiplies alternatives, and takes long for many properties.

It also follows references by recursion, so that a long chain of them would overflow its stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter

from mlxknife.domain.constraints.rules.keywords import ALTERNATIVES, MANY_SCHEMAS, NAMED_SCHEMAS, ONE_SCHEMA, Json
from mlxknife.domain.constraints.rules.pointers import escaped, pointer
from mlxknife.domain.errors import ValidationError

MAX_COST = 10_000
"""Of one schema, and of all tools of a request: about a tenth of a second for JSON, and up to half a second for tools.

On a machine with few processors, the rows that run beside wait for about as long.
"""
_MAX_CHAIN = 250
"""The schemas of a chain: those inside of a schema, and those it refers to. Some 2,000 overflow a stack of 8 MB."""
_MAX_TOGETHER = 12
"""The patterns and formats of one text: each one more takes the compiler twice the time."""
_MAX_MULTIPLE = 10_000
"""The largest least common multiple of all ``multipleOf``: an automaton has a state for each remainder."""
_MAX_DIGITS = 9
_SQUARE = 100
"""The time for an object grows with the square of its properties; those of ten cost as much as one schema."""


def checked(schemas: Mapping[str, Mapping[str, Json] | bool], place: str) -> float:
    """Return the cost of a document, whose schemas are by JSON pointer.

    Raises ValidationError for one that takes too long to compile, or whose references overflow a stack.
    """
    if _longest_chain(schemas) > _MAX_CHAIN:
        msg = f"{place} is too complex: its references lead through more than {_MAX_CHAIN} schemas, one after the other"
        raise ValidationError(msg, param=place)
    costs = _Costs(schemas)
    cost = sum(costs.own(pointer) for pointer in schemas)
    if cost > MAX_COST:
        msg = f"{place} is too complex: it has too many properties or alternatives"
        raise ValidationError(msg, param=place)
    if costs.most_together > _MAX_TOGETHER:
        msg = f"{place} is too complex: more than {_MAX_TOGETHER} patterns may have to match one text"
        raise ValidationError(msg, param=place)
    objects = [schema for schema in schemas.values() if not isinstance(schema, bool)]
    _check_multiples([schema["multipleOf"] for schema in objects if "multipleOf" in schema], place)
    return cost


def _check_multiples(numbers: list[Json], place: str) -> None:
    """Check the least common multiple number by number, so that none of the products becomes large."""
    values = {Decimal(str(number)).normalize() for number in numbers}
    digits = max([0, *(-int(value.as_tuple().exponent) for value in values)])
    scale = Decimal(10) ** min(digits, _MAX_DIGITS + 1)
    least = 1
    for value in values:
        least = math.lcm(least, int(value * scale)) if value <= _MAX_MULTIPLE else _MAX_MULTIPLE + 1
        if least > _MAX_MULTIPLE or digits > _MAX_DIGITS:
            msg = f"{place} has multipleOf whose least common multiple is above {_MAX_MULTIPLE}"
            raise ValidationError(msg, param=place)


class _Costs:
    """Costs by JSON pointer. A schema that refers to itself counts once."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Json] | bool]) -> None:
        self._schemas = schemas
        self._merged: dict[str, tuple[int, float, int]] = {}
        self._open: set[str] = set()
        self.most_together = 0
        """The most patterns that may have to match one text."""

    def own(self, place: str) -> float:
        """Return the cost of a schema; those inside of it count on their own unless they are merged with others."""
        schema = self._schemas[place]
        if isinstance(schema, bool):
            return 1
        is_merged = _is_merged(self._parts(place, schema), schema)
        return self._merge(place)[1] if is_merged else self._plain(schema)

    @staticmethod
    def _plain(schema: Mapping[str, Json]) -> float:
        count = _properties(schema)
        return 1 + count * count / _SQUARE

    def _merge(self, place: str) -> tuple[int, float, int]:
        """Return three numbers for a schema with all that is inside of it.

        They are the most alternatives of one schema, the cost of all, and the most patterns that one text may have to
        match.
        """
        if place in self._merged:
            return self._merged[place]
        schema = self._schemas.get(place, True)
        if isinstance(schema, bool) or place in self._open:
            return 1, 1, 0
        self._open.add(place)
        branches, cost, together = self._product(self._parts(place, schema), schema)
        for inner in _inner(place, schema, (*ONE_SCHEMA, "prefixItems", *NAMED_SCHEMAS)):
            more, its_cost, its_patterns = self._merge(inner)
            branches, cost, together = max(branches, more), cost + its_cost, max(together, its_patterns)
        self._open.discard(place)
        self._merged[place] = branches, cost, together
        self.most_together = max(self.most_together, together)
        return self._merged[place]

    def _product(self, parts: list[list[str]], schema: Mapping[str, Json]) -> tuple[int, float, int]:
        """Return the alternatives of parts that must all hold, the cost of merging them, and their patterns."""
        branches, cost, together = _choices(schema), self._plain(schema), int(_has_pattern(schema))
        for alternatives in parts:
            merged = [self._merge(inner) for inner in alternatives]
            branches = min(branches * max(1, sum(count for count, _, _ in merged)), MAX_COST)
            cost += sum(its_cost for _, its_cost, _ in merged)
            together += max((patterns for _, _, patterns in merged), default=0)
        return branches, cost * branches if _is_merged(parts, schema) else cost, together

    @staticmethod
    def _parts(place: str, schema: Mapping[str, Json]) -> list[list[str]]:
        """Return the places of the schemas that must all hold; each is a list of alternatives."""
        parts = [list(_inner(place, schema, (keyword,))) for keyword in ALTERNATIVES if keyword in schema]
        parts += [[inner] for inner in _inner(place, schema, ("allOf",))]
        if "$ref" in schema:
            parts.append([pointer(str(schema["$ref"])) or ""])
        return parts


def _longest_chain(schemas: Mapping[str, Mapping[str, Json] | bool]) -> int:
    """Return the most schemas of which each is inside of the one before it, or what that refers to.

    Schemas that contain themselves count together, because a chain may go through all of them.
    """
    followed = {place: _followed(place, schema) for place, schema in schemas.items() if not isinstance(schema, bool)}
    from_ends, others = _levels(followed)
    from_begins, recursive = _levels({place: followed.get(place, set()) & others for place in others}, reverse=True)
    return from_ends + from_begins + len(recursive)


def _followed(place: str, schema: Mapping[str, Json]) -> set[str]:
    """Return the places of the schemas that a schema needs."""
    needed = set(_inner(place, schema, (*ONE_SCHEMA, *MANY_SCHEMAS, "patternProperties", "properties")))
    return needed | {pointer(str(schema["$ref"])) or ""} if "$ref" in schema else needed


def _levels(followed: Mapping[str, set[str]], *, reverse: bool = False) -> tuple[int, set[str]]:
    """Return the length of the longest chain that leads to no schema which contains itself, and the places of the rest.

    ``reverse`` takes chains against their direction.
    """
    sorter, rest, count = TopologicalSorter[str](), set(followed), 0
    for place, places in followed.items():
        sorter.add(place, *(() if reverse else places))
        for inner in places if reverse else ():
            sorter.add(inner, place)
    with suppress(CycleError):
        sorter.prepare()
    while ready := sorter.get_ready():
        sorter.done(*ready)
        rest.difference_update(ready)
        count += 1
    return count, rest


def _is_merged(parts: list[list[str]], schema: Mapping[str, Json]) -> bool:
    """Whether several schemas, or a schema and its own keywords, must hold together."""
    return len(parts) + bool(_properties(schema)) + _has_pattern(schema) > 1


def _choices(schema: Mapping[str, Json]) -> int:
    values = schema.get("enum")
    return len(values) if isinstance(values, list) else 1


def _has_pattern(schema: Mapping[str, Json]) -> bool:
    return "pattern" in schema or "format" in schema


def _properties(schema: Mapping[str, Json]) -> int:
    return sum(len(named) for name in NAMED_SCHEMAS[2:] if isinstance(named := schema.get(name), Mapping))


def _inner(place: str, schema: Mapping[str, Json], keywords: tuple[str, ...]) -> Iterator[str]:
    """Yield the places of the schemas under some keywords."""
    for keyword in keywords:
        value = schema.get(keyword)
        if value is None:
            continue
        if keyword in MANY_SCHEMAS and isinstance(value, list):
            yield from (f"{place}/{keyword}/{number}" for number in range(len(value)))
        elif keyword in NAMED_SCHEMAS and isinstance(value, Mapping):
            names = map(escaped, value)
            yield from (f"{place}/{keyword}/{name}" for name in names)
        elif keyword in ONE_SCHEMA:
            yield f"{place}/{keyword}"
