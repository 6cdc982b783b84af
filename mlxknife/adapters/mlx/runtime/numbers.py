"""Reading single numbers out of arrays that are computed already.

Asking MLX for one number makes it compute, which waits for the step that is under way; a view of the memory does not.
"""

from __future__ import annotations

import struct
from typing import Any


def number_at(row: Any, place: int) -> float:  # noqa: ANN401 - an array of MLX
    """Return a number of a vector of floats."""
    view = memoryview(row)
    if view.format == "f":
        return float(view[place])
    raw = bytes(view[place : place + 1])
    if view.format == "e":
        return float(struct.unpack("=e", raw)[0])
    return float(struct.unpack("<f", b"\0\0" + raw)[0])  # bfloat16 is the upper half of a float


def likeliest(row: Any, count: int) -> tuple[tuple[int, float], ...]:  # noqa: ANN401
    """Return the places of the greatest numbers of a vector and the numbers, the greatest first."""
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

    count = min(count, row.size)
    if not count:
        return ()
    places: Any = mx.argpartition(-row, kth=count - 1)[:count].tolist()
    found = ((int(place), number_at(row, int(place))) for place in places)
    return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))
