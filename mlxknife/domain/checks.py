"""Checks of option values that every subject uses: a number in a range, one of several values."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.errors import ValidationError


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise ValidationError for a value that is not a number from ``low`` to ``high``; None is not checked.

    ``name`` is the option, which becomes the ``param`` of the error. NaN is in no range, and a bool is not a number.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name} must be a number, not {value!r}"
        raise ValidationError(msg, param=name)
    if not low <= value <= high:
        msg = f"{name} must be between {low} and {high}, not {value}"
        raise ValidationError(msg, param=name)


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise ValidationError for a value that is not one of the allowed ones; None is not checked.

    ``name`` is the option, which becomes the ``param`` of the error.
    """
    if value is not None and value not in allowed:
        msg = f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}"
        raise ValidationError(msg, param=name)
