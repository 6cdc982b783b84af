"""How many properties an object has: which bounds change nothing, and which ones a grammar cannot hold.

The compiler counts the properties that are written. It does so only where each declared property is required, or where
an object without others has one optional property at least or at most. Names that are not declared may repeat in an
object, and a document that repeats a name has fewer properties than were written.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.domain.constraints.rules.keywords import Json

_BESIDE_OPTIONAL = "cannot be held beside properties that are not required"
_REPEATED = "cannot be held: names that the schema does not declare may repeat in an object"


def needless(schema: Mapping[str, Json]) -> list[str]:
    """Return the bounds that the other keywords of a schema fulfil."""
    low, high = _bounds(schema)
    declared, required = _names(schema, "properties"), _names(schema, "required")
    found = ["minProperties"] if low is not None and low <= len(required) else []
    if high is not None and not _has_others(schema) and high >= len(declared | required):
        found.append("maxProperties")
    return found


def refused(schema: Mapping[str, Json]) -> tuple[str, str] | None:
    """Return a bound that cannot be held, and the reason. ``schema`` has no needless ones."""
    low, high = _bounds(schema)
    required = len(_names(schema, "required"))
    least = 0 if low is None else low - required
    if not _optional(schema):
        return ("minProperties", _REPEATED) if least > 1 and _has_others(schema) else None
    if low is not None and (least > 1 or _has_others(schema)):
        return "minProperties", _BESIDE_OPTIONAL
    if high is not None and (high - required != 1 or _has_others(schema)):
        return "maxProperties", _BESIDE_OPTIONAL
    return None


def _bounds(schema: Mapping[str, Json]) -> tuple[int | None, int | None]:
    low, high = schema.get("minProperties"), schema.get("maxProperties")
    return (low if isinstance(low, int) else None), (high if isinstance(high, int) else None)


def _names(schema: Mapping[str, Json], keyword: str) -> set[str]:
    names = schema.get(keyword, ())
    return set(names) if isinstance(names, Mapping | list) else set()


def _optional(schema: Mapping[str, Json]) -> set[str]:
    declared, required = schema.get("properties"), _names(schema, "required")
    if not isinstance(declared, Mapping):
        return set()
    return {name for name, one in declared.items() if name not in required and one is not False}


def _has_others(schema: Mapping[str, Json]) -> bool:
    """Whether an object may have properties that are not declared by name."""
    return bool(schema.get("patternProperties")) or schema.get("additionalProperties") is not False
