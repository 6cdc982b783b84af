"""JSON objects that clients and models write: schemas of tools, and arguments of calls."""

from __future__ import annotations

import json
from typing import Any, NoReturn

_MAX_DEPTH = 64


def json_object(text: str) -> dict[str, Any] | None:
    """Return the object that a JSON text is; None for another text, and for one that is nested too deeply."""
    try:
        value = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and _is_flat(value) else None


def _is_flat(value: object) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False


def _refused(name: str) -> NoReturn:
    msg = f"JSON has no {name}"
    raise ValueError(msg)
