"""The forms that the memory of a model can take: as the model makes it, bounded, in few bits, able to go back.

mlx-lm offers a bounded cache only to models that make none of their own, which few are, and fails in the middle of an
answer where one cannot be quantised. So it is decided here, and told before anything is computed.
"""

from __future__ import annotations

from typing import Any

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.generation import GROUP_SIZES, CacheShape
from mlxknife.domain.hints import Hint, HintCode

_KEPT = 4
"""How many tokens at the head of a text are never forgotten, because attention leans on them; mlx-lm keeps as many."""


def made(model: Any, shape: CacheShape) -> list[Any]:  # noqa: ANN401 - a module of MLX
    """Return a fresh cache for each layer."""
    from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache  # noqa: PLC0415 - it is loaded by now

    layers: list[Any] = make_prompt_cache(model)
    if shape.window is None:
        return layers
    return [
        RotatingKVCache(max_size=shape.window, keep=_KEPT)  # type: ignore[no-untyped-call] # mlx-lm's own
        if type(layer) is KVCache
        else layer
        for layer in layers
    ]


def check(model: Any, shape: CacheShape) -> None:  # noqa: ANN401
    """Raise ValidationError for a shape that a model cannot have."""
    if shape.window is not None:
        _check_bounded(model)
    if shape.bits is not None:
        _check_quantised(model, shape.group_size, shape.bits)


def check_guessing(model: Any, draft: Any) -> None:  # noqa: ANN401
    """Raise ValidationError where a model or its draft could not take back a guess, at any length of text."""
    for name, one in (("the model", model), ("draft_model", draft)):
        kinds = _kinds(one)
        if kinds != {"KVCache"}:
            msg = f"draft_model cannot be used here: {name} could not take back a wrong guess ({_listed(kinds)})"
            raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="draft_model"))


def _check_bounded(model: Any) -> None:  # noqa: ANN401
    kinds = _kinds(model)
    if not kinds <= {"KVCache", "RotatingKVCache"}:
        msg = f"max_kv_size does not go with this model: its memory cannot be bounded ({_listed(kinds)})"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="max_kv_size"))


def _check_quantised(model: Any, group_size: int, bits: int) -> None:  # noqa: ANN401
    """Try it with two tokens: what a head remembers is known only when it remembers something."""
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.generate import maybe_quantize_kv_cache  # noqa: PLC0415

    kinds = _kinds(model)
    if "KVCache" not in kinds or "RotatingKVCache" in kinds:
        msg = f"kv_bits does not go with this model: its memory cannot be quantised ({_listed(kinds)})"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="kv_bits"))
    layers = made(model, CacheShape())
    token = mx.array([[0]])
    mx.eval(model(token, cache=layers))
    plain = [layer for layer in layers if type(layer).__name__ == "KVCache"]
    widths = sorted({numbers.shape[-1] for layer in plain for numbers in (layer.keys, layer.values)})
    if any(width % group_size for width in widths):
        msg = f"kv_group_size {group_size} does not go with this model: its heads remember {_listed(widths)} numbers"
        raise ValidationError(msg, hint=_better_size(widths))
    maybe_quantize_kv_cache(layers, 0, group_size, bits)  # type: ignore[no-untyped-call] # mlx-lm's own
    try:
        mx.eval(model(token, cache=layers))
    except (ValueError, TypeError, RuntimeError, AttributeError) as exc:
        msg = f"kv_bits does not go with this model: {exc}"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT, name="kv_bits")) from exc


def _better_size(widths: list[int]) -> Hint:
    sizes = [size for size in GROUP_SIZES if not any(width % size for width in widths)]
    if not sizes:
        return Hint(HintCode.OMIT, name="kv_bits")
    return Hint(HintCode.CHOICES, values=", ".join(map(str, sizes)))


def _kinds(model: Any) -> set[str]:  # noqa: ANN401
    return {type(layer).__name__ for layer in made(model, CacheShape())}


def _listed(values: Any) -> str:  # noqa: ANN401 - numbers or words
    return " and ".join(sorted(map(str, values)))
