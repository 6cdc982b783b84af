"""Texts and values without lone surrogates, which cannot be encoded. An undecodable argument has them."""

from __future__ import annotations

import attrs


def clean(text: str) -> str:
    """Return a text without lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def clean_value(value: object) -> object:
    """Return a value in which every text can be encoded."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, tuple | list):
        return tuple(map(clean_value, value))
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))  # type: ignore[arg-type] # mypy loses the check above
        return type(value)(**{field.name: clean_value(getattr(value, field.name)) for field in fields})
    return value
