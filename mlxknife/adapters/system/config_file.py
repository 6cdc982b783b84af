"""The config file: TOML to typed settings. Unknown keys and values of another type are errors."""

from __future__ import annotations

import tomllib
from typing import TypeVar

import cattrs

_T = TypeVar("_T")


def parse(data: bytes, shape: type[_T]) -> _T:
    """Return a config file as an attrs class. Raises ValueError that names every wrong key."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(str, _text)  # by default cattrs converts 8000 to "8000"
    try:
        return converter.structure(tomllib.loads(data.decode()), shape)
    except cattrs.BaseValidationError as exc:
        raise ValueError("; ".join(cattrs.transform_error(exc))) from exc


def _text(value: object, _: type[str]) -> str:
    if not isinstance(value, str):
        msg = f"expected a string, got {value!r}"
        raise TypeError(msg)
    return value
