"""Short forms of values for ``repr``: long texts and sequences are cut, and no memory address shows."""

from __future__ import annotations

import reprlib
from enum import Enum
from typing import TYPE_CHECKING, cast

import attrs

if TYPE_CHECKING:
    from attrs import AttrsInstance

_MAX_ITEMS = 3
_MAX_TEXT = 100
_MAX_VALUE = 280


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxdict = _MAX_ITEMS
        self.maxstring, self.maxother = _MAX_TEXT, _MAX_VALUE

    def repr_instance(self, value: object, level: int) -> str:
        if isinstance(value, Enum):
            return f"{type(value).__name__}.{value.name}"
        return super().repr_instance(value, level)


_SHORT = _Short()


def call(value: object, **shown: object) -> str:
    """Return ``Name(field=value, ...)`` for the type of a value and the given fields."""
    fields = ", ".join(f"{name}={_SHORT.repr(shown[name])}" for name in shown)
    return f"{type(value).__name__}({fields})"


def fields(value: object) -> str:
    """Return the ``repr`` of an attrs value without the fields that are hidden or have their default."""
    known = attrs.fields(cast("type[AttrsInstance]", type(value)))
    pairs = [(field, getattr(value, field.name)) for field in known if field.repr]
    return call(value, **{field.name: held for field, held in pairs if held != field.default})


def name(value: object) -> str:
    """Return the ``repr`` of a service: the name of its class, because it holds only ports and other services."""
    return call(value)
