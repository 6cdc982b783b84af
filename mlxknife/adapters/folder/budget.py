"""How much is read of one model: its files are limited together, because a model may have thousands of them."""

from __future__ import annotations

import attrs

from mlxknife.domain.json_values import ValueLimits

_MAX_BYTES = 96_000_000
_MAX_VALUES = 3 * 2**20
_SHORTEST = 2
"""The bytes of the shortest string, list or object."""


@attrs.define
class ReadingBudget:
    """What may still be read of one model. The largest real models, of 200,000 tensors, need two thirds of it."""

    bytes_left: int = _MAX_BYTES
    """Bytes of JSON files and headers."""
    values_left: int = _MAX_VALUES
    """Strings, lists and objects that become objects of Python."""

    def take_values(self, count: int) -> bool:
        """Take a number of values, and return whether there were so many left."""
        self.values_left -= count
        return self.values_left >= 0

    def take_text(self, data: bytes, limits: ValueLimits) -> bool:
        """Take the most values that a JSON text within limits can have, and return whether there were so many left."""
        return self.take_values(min(len(data) // _SHORTEST, limits.compound))
