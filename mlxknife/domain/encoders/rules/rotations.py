"""Rotary position embeddings in a config.json, in the form of transformers 4 and in that of 5."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlxknife.domain.encoders.rules import fields
from mlxknife.domain.errors import ModelNotRunnable

_LAYER_TYPES = {"full_attention": False, "sliding_attention": True}


def theta(config: Mapping[str, object], layer_type: str | None, old_name: str, default: float) -> float:
    """Return the base of the frequencies of a type of layers. Raises ModelNotRunnable for scaled frequencies."""
    _refuse_scaled(config.get("rope_scaling"))
    found = config.get("rope_parameters")
    found = found.get(layer_type, found) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping) and "rope_theta" in found:
        _refuse_scaled(found)
        return fields.number(found, "rope_theta", default)
    return fields.number(config, old_name, default)


def local_layers(config: Mapping[str, object], layers: int, by_default: Callable[[int], bool]) -> tuple[bool, ...]:
    """Return for each layer whether it attends to its window only. Raises ModelNotRunnable."""
    declared = config.get("layer_types")
    if declared is None:
        return tuple(map(by_default, range(layers)))
    names = list(map(str, declared)) if isinstance(declared, list | tuple) else []
    if len(names) != layers or not set(names) <= _LAYER_TYPES.keys():
        fields.refuse("layer_types", declared)
    return tuple(_LAYER_TYPES[name] for name in names)


def even(head_size: int) -> int:
    """Return the length of a head's vectors, which are rotated in pairs. Raises ModelNotRunnable."""
    if head_size % 2:
        fields.refuse("head_dim", head_size)
    return head_size


def _refuse_scaled(rope: object) -> None:
    if rope is None:
        return
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else rope
    if kind != "default":
        msg = f"Rotary position embeddings of type {kind!a:.60} not supported"
        raise ModelNotRunnable(msg)
