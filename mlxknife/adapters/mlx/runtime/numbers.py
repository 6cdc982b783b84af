"""Reads single numbers from arrays that are computed already.

Asking MLX for one number waits for the step that is running; a view of the memory does not.
"""

from __future__ import annotations

import struct
from typing import Any


def number_at(row: Any, index: int) -> float:  # noqa: ANN401 - an array of MLX
    """Return one number of a vector of floats."""
    view = memoryview(row)
    if view.format == "f":
        return float(view[index])
    raw = bytes(view[index : index + 1])
    if view.format == "e":
        return float(struct.unpack("=e", raw)[0])
    return float(struct.unpack("<f", b"\0\0" + raw)[0])  # bfloat16 is the upper half of a float32


def likeliest(row: Any, count: int) -> tuple[tuple[int, float], ...]:  # noqa: ANN401
    """Return the indices of the largest numbers of a vector with the numbers, the largest first."""
    import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

    count = min(count, row.size)
    if not count:
        return ()
    indices: Any = mx.argpartition(-row, kth=count - 1)[:count].tolist()
    found = ((int(index), number_at(row, int(index))) for index in indices)
    return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))
