"""How deep a JSON value is nested: what comes from strangers must not exhaust whoever walks through it."""

from __future__ import annotations


def depth_exceeds(value: object, limit: int) -> bool:
    """Tell whether a value has more levels than a limit."""
    level = [value]
    for _ in range(limit):
        deeper = (item for item in level if isinstance(item, dict | list))
        level = [child for item in deeper for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return True
