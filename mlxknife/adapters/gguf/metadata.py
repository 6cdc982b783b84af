"""Typed access to the metadata values of a GGUF file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from mlxknife.adapters.gguf.header import InvalidGguf, Value

_ARCHITECTURE = "general.architecture"
_MAX_INTEGER = 1 << 31


@attrs.frozen
class GgufMetadata:
    """The metadata values by key. A method returns None for a missing key, unless it says otherwise.

    Every method raises InvalidGguf for a value of another type or out of range.
    """

    values: Mapping[str, Value]

    @property
    def architecture(self) -> str:
        """The name of the architecture. Raises InvalidGguf when it is missing."""
        found = self.string(_ARCHITECTURE)
        if found is None:
            msg = f"{_ARCHITECTURE} is missing"
            raise InvalidGguf(msg)
        return found

    def arch_key(self, key: str) -> str:
        """Return the full key of a value that belongs to the architecture, such as ``llama.block_count``."""
        return f"{self.architecture}.{key}"

    def string(self, key: str) -> str | None:
        """Return a string."""
        found = self.values.get(key)
        if found is not None and not isinstance(found, str):
            raise _wrong_type(key, "a string")
        return found

    def boolean(self, key: str) -> bool | None:
        """Return a boolean."""
        found = self.values.get(key)
        if found is not None and not isinstance(found, bool):
            raise _wrong_type(key, "a boolean")
        return found

    def integer(self, key: str) -> int | None:
        """Return an integer from 0 to 2**31 - 1."""
        found = self.values.get(key)
        if found is None:
            return None
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < _MAX_INTEGER:
            raise _wrong_type(key, "an integer from 0 to 2**31 - 1")
        return found

    def required_integer(self, key: str) -> int:
        """Return a positive integer of the architecture. Raises InvalidGguf when it is missing or 0."""
        found = self.integer(self.arch_key(key))
        if not found:
            msg = f"{self.arch_key(key)} is missing or 0"
            raise InvalidGguf(msg)
        return found

    def positive_number(self, key: str) -> float | None:
        """Return a finite number above zero."""
        found = self.values.get(key)
        if found is None:
            return None
        if not isinstance(found, int | float) or not 0 < found < math.inf:
            raise _wrong_type(key, "a finite number above zero")
        return float(found)

    def strings(self, key: str) -> tuple[str, ...] | None:
        """Return an array of strings."""
        found = self.values.get(key)
        if found is None:
            return None
        strings = tuple(item for item in found if isinstance(item, str)) if isinstance(found, tuple) else ()
        if not isinstance(found, tuple) or len(strings) != len(found):
            raise _wrong_type(key, "an array of strings")
        return strings

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Return an array of finite numbers."""
        found = self.values.get(key)
        if found is None:
            return None
        numbers = tuple(item for item in found if _is_finite(item)) if isinstance(found, tuple) else ()
        if not isinstance(found, tuple) or len(numbers) != len(found):
            raise _wrong_type(key, "an array of finite numbers")
        return tuple(map(float, numbers))


def _is_finite(item: object) -> bool:
    return isinstance(item, int | float) and math.isfinite(item)


def _wrong_type(key: str, expected: str) -> InvalidGguf:
    return InvalidGguf(f"{key} is not {expected}")
