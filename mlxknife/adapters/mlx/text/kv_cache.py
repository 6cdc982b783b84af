"""KV caches: as the model makes them, limited in length, or quantised; and which of them can be batched or trimmed.

mlx-lm limits the length only for models that make no caches of their own, and fails in the middle of an answer where a
cache cannot be quantised. So the support is checked here, before a row starts.
"""

from __future__ import annotations

import copy
from typing import Any

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.request import KV_GROUP_SIZES, KVCacheOptions
from mlxknife.domain.hints import Hint, HintCode

_KEPT = 4
"""The number of first tokens that a limited cache never drops; mlx-lm keeps as many."""
_TRIMMABLE = ("KVCache", "RotatingKVCache", "QuantizedKVCache")


def fresh(model: Any, options: KVCacheOptions) -> list[Any]:  # noqa: ANN401 - a module of MLX
    """Return an empty cache for each layer."""
    from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache  # noqa: PLC0415 - mlx-lm is loaded by now

    layers: list[Any] = make_prompt_cache(model)
    if options.max_size is None:
        return layers
    return [
        RotatingKVCache(max_size=options.max_size, keep=_KEPT)  # type: ignore[no-untyped-call] # mlx-lm's own
        if type(layer) is KVCache
        else layer
        for layer in layers
    ]


def quantize(layers: list[Any], options: KVCacheOptions) -> None:
    """Replace the caches that have reached the start of quantisation by quantised ones."""
    if options.bits is None:
        return
    from mlx_lm.generate import maybe_quantize_kv_cache  # noqa: PLC0415 - mlx-lm is loaded by now

    maybe_quantize_kv_cache(  # type: ignore[no-untyped-call] # mlx-lm's own
        layers, options.quantized_start, options.group_size, options.bits
    )


def can_batch(layer: Any) -> bool:  # noqa: ANN401 - a cache of mlx-lm
    """Whether a cache can be one row of a batched cache. A list of caches says yes even if one of its parts cannot."""
    parts = getattr(layer, "caches", None)
    if parts is not None:
        return all(can_batch(part) for part in parts)
    return hasattr(layer, "merge") and not getattr(layer, "keep", 0)  # a batch keeps no first tokens


def can_trim(layer: Any) -> bool:  # noqa: ANN401 - a cache of mlx-lm
    """Whether a cache can drop its last tokens; not every cache that claims so can."""
    parts = getattr(layer, "caches", None)
    if parts is not None:
        return all(can_trim(part) for part in parts)
    return type(layer).__name__ in _TRIMMABLE and bool(layer.is_trimmable())


def trimmed_copy(layers: list[Any], surplus: int) -> list[Any]:
    """Return copies of caches without their last tokens. The arrays are shared until one copy is written to."""
    copies = copy.deepcopy(layers)
    if surplus:
        for layer in copies:
            layer.trim(surplus)
    return copies


def check(model: Any, options: KVCacheOptions) -> None:  # noqa: ANN401
    """Raise ValidationError for options that a model does not support."""
    if options.max_size is not None:
        _check_limited(model)
    if options.bits is not None:
        _check_quantized(model, options.group_size, options.bits)


def check_speculative(model: Any, draft: Any) -> None:  # noqa: ANN401
    """Raise ValidationError if the caches of the model or the draft model cannot drop a rejected token."""
    for name, one in (("the model", model), ("draft_model", draft)):
        kinds = _kinds(one)
        if kinds != {"KVCache"}:
            msg = f"draft_model cannot be used here: {name} has a cache that cannot be trimmed ({_listed(kinds)})"
            raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="draft_model"))


def _check_limited(model: Any) -> None:  # noqa: ANN401
    kinds = _kinds(model)
    if not kinds <= {"KVCache", "RotatingKVCache"}:
        msg = f"max_kv_size does not work with this model: its cache cannot be limited ({_listed(kinds)})"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="max_kv_size"))


def _check_quantized(model: Any, group_size: int, bits: int) -> None:  # noqa: ANN401
    """Try it with two tokens: the head size is known only once a cache holds something."""
    import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

    kinds = _kinds(model)
    if "KVCache" not in kinds or "RotatingKVCache" in kinds:
        msg = f"kv_bits does not work with this model: its cache cannot be quantised ({_listed(kinds)})"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="kv_bits"))
    layers = fresh(model, KVCacheOptions())
    token = mx.array([[0]])
    mx.eval(model(token, cache=layers))
    plain = [layer for layer in layers if type(layer).__name__ == "KVCache"]
    sizes = sorted({values.shape[-1] for layer in plain for values in (layer.keys, layer.values)})
    if any(size % group_size for size in sizes):
        msg = f"kv_group_size {group_size} does not work with this model: its head size is {_listed(sizes)}"
        raise ValidationError(msg, hint=_better_group_size(sizes))
    quantize(layers, KVCacheOptions(bits, group_size))
    try:
        mx.eval(model(token, cache=layers))
    except (ValueError, TypeError, RuntimeError, AttributeError) as exc:
        msg = f"kv_bits does not work with this model: {exc}"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="kv_bits")) from exc


def _better_group_size(sizes: list[int]) -> Hint:
    working = [group for group in KV_GROUP_SIZES if not any(size % group for size in sizes)]
    if not working:
        return Hint(HintCode.OMIT, name="kv_bits")
    return Hint(HintCode.CHOICES, values=", ".join(map(str, working)))


def _kinds(model: Any) -> set[str]:  # noqa: ANN401
    return {type(layer).__name__ for layer in fresh(model, KVCacheOptions())}


def _listed(values: Any) -> str:  # noqa: ANN401 - numbers or words
    return " and ".join(sorted(map(str, values)))
