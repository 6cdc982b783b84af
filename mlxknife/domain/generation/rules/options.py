"""Wishes: which values can be meant, and what holds where nothing was said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs

from mlxknife.domain.errors import ContextLengthExceeded, ValidationError
from mlxknife.domain.generation.values.generation import GROUP_SIZES, CacheShape, Message, Sampling, TokenRequest, Wish
from mlxknife.domain.hints import Hint, HintCode

MAX_TOKENS = 4096
"""How long an answer may get where nobody said."""

_OURS = Sampling(temperature=0.7, top_p=0.95, top_k=0, min_p=0.0, repetition_penalty=1.0)
_KV_BITS = (2, 3, 4, 5, 6, 8)
_MAX_SEED = 2**63 - 1


def check(wish: Wish, *, has_draft: bool = False) -> None:
    """Raise ValidationError for a value that can mean nothing, naming it; ``has_draft``: with a draft model."""
    sampling, cache = wish.sampling, wish.cache
    _within("temperature", sampling.temperature, 0.0, 100.0)
    _within("top_p", sampling.top_p, 0.0, 1.0)
    _within("top_k", sampling.top_k, 0, 2**31 - 1)
    _within("min_p", sampling.min_p, 0.0, 1.0)
    _within("repetition_penalty", sampling.repetition_penalty, 0.01, 100.0)
    _within("seed", sampling.seed, 0, _MAX_SEED)
    _within("max_tokens", wish.max_tokens, 1, 2**31 - 1)
    _check_cache(cache, has_draft=has_draft)
    if isinstance(wish.stops, str) or not all(isinstance(stop, str) for stop in wish.stops):
        msg = f"stops must be several texts, not {wish.stops!r}"
        raise ValidationError(msg, param="stops")
    if any(not stop for stop in wish.stops):
        msg = "stop is empty"
        raise ValidationError(msg, hint=HintCode.NONEMPTY_STOP, param="stop")


def _check_cache(cache: CacheShape, *, has_draft: bool) -> None:
    _within("quantized_kv_start", cache.quantized_from, 0, 2**31 - 1)
    _within("max_kv_size", cache.window, 8, 2**31 - 1)
    _one_of("kv_bits", cache.bits, _KV_BITS)
    _one_of("kv_group_size", cache.group_size, GROUP_SIZES)
    if cache.bits is not None and cache.window is not None:
        msg = "kv_bits and max_kv_size do not go together: what forgets its oldest tokens cannot be quantised"
        raise ValidationError(msg)
    if has_draft and (cache.bits is not None or cache.window is not None):
        name = "kv_bits" if cache.bits is not None else "max_kv_size"
        msg = f"{name} and draft_model do not go together: a guess that was wrong could not be taken back"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT_ONE, name=name, other="draft_model"))


def declared(generation_config: Mapping[str, object]) -> Sampling:
    """Return what a model's generation_config.json asks for; what cannot be meant is left out."""

    def number(key: str, low: float, high: float) -> float | None:
        value = generation_config.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and low <= value <= high else None  # type: ignore[operator, arg-type] # checked

    top_k = number("top_k", 0, 2**31 - 1)
    is_greedy = generation_config.get("do_sample") is False
    return Sampling(
        temperature=0.0 if is_greedy else number("temperature", 0.0, 100.0),
        top_p=number("top_p", 0.0, 1.0),
        top_k=None if top_k is None else int(top_k),
        min_p=number("min_p", 0.0, 1.0),
        repetition_penalty=number("repetition_penalty", 0.01, 100.0),
    )


def check_length(messages: Sequence[Message], vocabulary: Collection[str], window: int | None) -> None:
    """Raise ContextLengthExceeded for a text that is too long however it is cut: no token is longer than its name."""
    length = sum(len(message.content) + len(message.reasoning_content or "") for message in messages)
    if window is None or length < window:
        return
    if length >= window * max(map(len, vocabulary), default=length):
        msg = f"The prompt has {length} characters, and the model reads at most {window} tokens in all"
        raise ContextLengthExceeded(msg, hint=HintCode.SHORTEN_PROMPT)


def settled(
    wish: Wish, generation_config: Mapping[str, object], tokens: tuple[int, ...], window: int | None
) -> TokenRequest:
    """Return what an engine is to do: the wish, then the model's defaults, then ours.

    Raises ContextLengthExceeded for a prompt that leaves no room in the window of the model.
    """
    if window is not None and len(tokens) >= window:
        msg = f"The prompt has {len(tokens)} tokens, and the model reads at most {window} in all"
        raise ContextLengthExceeded(msg, hint=HintCode.SHORTEN_PROMPT)
    theirs = declared(generation_config)
    values = {
        field.name: next(
            (value for level in (wish.sampling, theirs, _OURS) if (value := getattr(level, field.name)) is not None),
            None,
        )
        for field in attrs.fields(Sampling)
    }
    wanted = wish.max_tokens or MAX_TOKENS
    return TokenRequest(
        tokens=tokens,
        max_tokens=wanted if window is None else min(wanted, window - len(tokens)),
        sampling=Sampling(**values),
        cache=wish.cache,
    )


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        msg = f"{name} must be a number, not {value!r}"
        raise ValidationError(msg, param=name)
    if value is not None and not low <= value <= high:  # NaN is within nothing
        msg = f"{name} must be between {low} and {high}, not {value}"
        raise ValidationError(msg, param=name)


def _one_of(name: str, value: int | None, allowed: tuple[int, ...]) -> None:
    if value is not None and value not in allowed:
        msg = f"{name} must be one of {', '.join(map(str, allowed))}, not {value}"
        raise ValidationError(msg, param=name)
