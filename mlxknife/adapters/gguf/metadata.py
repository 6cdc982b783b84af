"""The named values of a GGUF file, asked for by name and type."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from mlxknife.adapters.gguf.header import NotValid, Value

_ARCHITECTURE = "general.architecture"
_MAX_WHOLE = 1 << 31


@attrs.frozen
class Metadata:
    """Answers None for what is not there. Every method raises NotValid for what is of another type or out of bounds."""

    values: Mapping[str, Value]

    @property
    def architecture(self) -> str:
        """The kind of model; its own values have names that begin with it."""
        found = self.text(_ARCHITECTURE)
        if found is None:
            msg = f"it does not say its {_ARCHITECTURE}"
            raise NotValid(msg)
        return found

    def of_model(self, key: str) -> str:
        """Return the whole name of a value that depends on the kind of model."""
        return f"{self.architecture}.{key}"

    def text(self, key: str) -> str | None:
        """Return a text."""
        found = self.values.get(key)
        if found is not None and not isinstance(found, str):
            raise _of_another_type(key, "text")
        return found

    def flag(self, key: str) -> bool | None:
        """Return a yes or no."""
        found = self.values.get(key)
        if found is not None and not isinstance(found, bool):
            raise _of_another_type(key, "yes or no")
        return found

    def whole(self, key: str) -> int | None:
        """Return a whole number that is not negative."""
        found = self.values.get(key)
        if found is None:
            return None
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < _MAX_WHOLE:
            raise _of_another_type(key, "whole number of sensible size")
        return found

    def number(self, key: str) -> float | None:
        """Return a number above zero."""
        found = self.values.get(key)
        if found is None:
            return None
        if not isinstance(found, int | float) or not 0 < found < math.inf:
            raise _of_another_type(key, "number above zero")
        return float(found)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of texts."""
        found = self.values.get(key)
        if found is None:
            return None
        texts = tuple(item for item in found if isinstance(item, str)) if isinstance(found, tuple) else ()
        if not isinstance(found, tuple) or len(texts) != len(found):
            raise _of_another_type(key, "list of texts")
        return texts

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Return a list of numbers, none of which is missing or infinite."""
        found = self.values.get(key)
        if found is None:
            return None
        numbers = tuple(item for item in found if _is_finite(item)) if isinstance(found, tuple) else ()
        if not isinstance(found, tuple) or len(numbers) != len(found):
            raise _of_another_type(key, "list of numbers")
        return tuple(map(float, numbers))

    def needed(self, key: str) -> int:
        """Return a whole number of the model above zero, that has to be there."""
        found = self.whole(self.of_model(key))
        if not found:
            msg = f"it does not say its {self.of_model(key)}"
            raise NotValid(msg)
        return found


def _is_finite(item: object) -> bool:
    return isinstance(item, int | float) and math.isfinite(item)


def _of_another_type(key: str, expected: str) -> NotValid:
    return NotValid(f"its {key} is no {expected}")
