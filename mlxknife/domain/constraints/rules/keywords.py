"""The keywords of JSON Schema that are supported, what values they take, and those that change nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from mlxknife.domain.constraints.rules import patterns

Json: TypeAlias = object
_Check: TypeAlias = Callable[[Json], bool]

TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
FORMATS = frozenset("date date-time duration email hostname ipv4 ipv6 time uri uuid".split())
ANNOTATED_FORMATS = frozenset("binary byte double float int32 int64 password path".split())
"""Formats of OpenAPI and of pydantic that say how a value is used. No validator of JSON Schema checks them."""
_ANNOTATIONS = frozenset(
    "$comment $id $schema contentEncoding contentMediaType contentSchema default deprecated description discriminator "
    "example examples externalDocs readOnly title writeOnly xml".split()
)
_LEAP_DAY = (
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29"  # 2024 and 2000, not 2100
)
_DAY = (
    "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = f"(?:{_DAY}|{_LEAP_DAY})"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = f"{_CLOCK}:[0-5][0-9](?:\\.[0-9]{{1,9}})?(?:Z|[+-]{_CLOCK})"
PATTERNS = {"date": f"^{_DATE}$", "date-time": f"^{_DATE}T{_TIME}$", "time": f"^{_TIME}$"}
"""The formats that the compiler takes too loosely: it allows 29 February in every year, and any leap second."""
ONE_SCHEMA = ("additionalProperties", "items")
MANY_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED_SCHEMAS = ("$defs", "definitions", "patternProperties", "properties")
COUNTS = ("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties")
ALTERNATIVES = ("anyOf", "oneOf")


def is_annotation(keyword: str) -> bool:
    """Whether a keyword only describes, so that it can be left out."""
    return keyword in _ANNOTATIONS or keyword.startswith("x-")


def is_needless(keyword: str, value: Json) -> bool:
    """Whether a keyword changes nothing with this value, such as ``uniqueItems`` with false."""
    if keyword == "format":
        return isinstance(value, str) and value in ANNOTATED_FORMATS
    return any(value is one or (one == {} == value) for one in _NEEDLESS.get(keyword, ()))


def _is_number(value: Json) -> bool:
    """Whether a value is a number that a float can hold: the compiler reads no others."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_count(value: Json) -> bool:
    return _is_number(value) and float(value).is_integer() and 0 <= value <= _MAX_COUNT  # type: ignore[arg-type, operator] # it is a number


def _is_type(value: Json) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(name in TYPES for name in names)


def _is_names(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_MAX_COUNT = 2**31 - 1
_NEEDLESS: Mapping[str, tuple[Json, ...]] = {
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "not": (False,),
    "nullable": (False,),
    "propertyNames": (True, {}),
    "unevaluatedItems": (True, {}),
    "unevaluatedProperties": (True, {}),
    "uniqueItems": (False,),
}
"""Keywords that are not supported, and the values with which they allow everything."""

VALUES: Mapping[str, tuple[_Check, str]] = {
    "$ref": (lambda value: isinstance(value, str) and value[:1] == "#", "a reference to a schema of this document"),
    "const": (lambda _: True, "any value"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list with a value"),
    "exclusiveMaximum": (_is_number, "a number"),
    "exclusiveMinimum": (_is_number, "a number"),
    "format": (lambda value: isinstance(value, str) and value in FORMATS, f"one of {', '.join(sorted(FORMATS))}"),
    "maxItems": (_is_count, "a number of items"),
    "maxLength": (_is_count, "a number of characters"),
    "maxProperties": (_is_count, "a number of properties"),
    "maximum": (_is_number, "a number"),
    "minItems": (_is_count, "a number of items"),
    "minLength": (_is_count, "a number of characters"),
    "minProperties": (_is_count, "a number of properties"),
    "minimum": (_is_number, "a number"),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),  # type: ignore[operator] # it is a number
    "pattern": (patterns.is_supported, patterns.SUPPORTED),
    "required": (_is_names, "a list of names"),
    "type": (_is_type, f"one of {', '.join(TYPES)}, or a list of them"),
}
"""The other supported keywords: a check of the value, and its description."""
