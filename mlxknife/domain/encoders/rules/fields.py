"""The fields of a config.json: values of the right type and in bounds, or an error that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

from mlxknife.domain.errors import ModelNotRunnable

_MAX_SIZE = 2**31
_MAX_LAYERS = 1000


def size(config: Mapping[str, object], name: str, default: int) -> int:
    """Return a positive integer. Raises ModelNotRunnable."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _MAX_SIZE:
        refuse(name, value)
    return value


def layer_count(config: Mapping[str, object], default: int) -> int:
    """Return the number of layers. Raises ModelNotRunnable."""
    found = size(config, "num_hidden_layers", default)
    if found > _MAX_LAYERS:
        refuse("num_hidden_layers", found)
    return found


def head_size(width: int, heads: int) -> int:
    """Return the length of a head's vectors. Raises ModelNotRunnable if the heads do not divide the width."""
    if width % heads:
        msg = f"hidden_size {width} is no multiple of num_attention_heads {heads}"
        raise ModelNotRunnable(msg)
    return width // heads


def number(config: Mapping[str, object], name: str, default: float) -> float:
    """Return a positive number. Raises ModelNotRunnable."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        refuse(name, value)
    return float(value)


def choice(config: Mapping[str, object], name: str, default: str, known: tuple[str, ...], what: str) -> str:
    """Return one of the known texts. Raises ModelNotRunnable."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in known:
        msg = f"{what} {value!a:.60} not supported"
        raise ModelNotRunnable(msg)
    return value


def refuse_set(config: Mapping[str, object], *names: str) -> None:
    """Raise ModelNotRunnable if one of the fields is set: the encoders do not compute what it asks for."""
    for name in names:
        if config.get(name):
            msg = f"config.json sets {name}, which embeddings do not support"
            raise ModelNotRunnable(msg)


def refuse(name: str, value: object) -> NoReturn:
    """Raise ModelNotRunnable for a field with a wrong value."""
    msg = f"config.json has an invalid {name}: {value!a:.60}"
    raise ModelNotRunnable(msg)
