"""Vectors: checked, and of length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlxknife.domain.errors import EngineError


def normalized(vector: Sequence[float]) -> tuple[float, ...]:
    """Return a vector with the length 1. Raises EngineError for one with NaN, infinity, or zeros only."""
    length = math.hypot(*vector)
    if not math.isfinite(length):
        msg = "The model produced a vector with NaN or infinity"
        raise EngineError(msg)
    if not length:
        msg = "The model produced a vector of zeros"
        raise EngineError(msg)
    return tuple(value / length for value in vector)
