"""Generation options: which values are valid, and what holds where a request sets none.

Unset fields come from the model's generation_config.json, then from the product's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mlxknife.domain.checks import check_choice, check_range
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import context_window
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import (
    KV_GROUP_SIZES,
    MAX_TEMPERATURE,
    MAX_TOP_LOGPROBS,
    GenerationOptions,
    KVCacheOptions,
    SamplingParameters,
)
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.hints import Hint, HintCode

MAX_TOKENS = 32_768
"""The longest answer where neither the request nor the server sets a limit, and the context window leaves more."""
MAX_SEED = 2**63 - 1
MAX_N = 16
"""The largest number of answers to one prompt."""

_DEFAULTS = SamplingParameters(temperature=0.7, top_p=0.95, top_k=0, min_p=0.0, repetition_penalty=1.0)
_KV_BITS = (2, 3, 4, 5, 6, 8)
_MAX_INT = 2**31 - 1


def check(options: GenerationOptions, *, has_draft: bool = False) -> None:
    """Raise ValidationError, naming the field, for an invalid value or combination.

    ``has_draft`` says whether the model is loaded with a draft model.
    """
    sampling = options.sampling
    check_range("temperature", sampling.temperature, 0.0, MAX_TEMPERATURE)
    check_range("top_p", sampling.top_p, 0.0, 1.0)
    check_range("top_k", sampling.top_k, 0, _MAX_INT)
    check_range("min_p", sampling.min_p, 0.0, 1.0)
    check_range("repetition_penalty", sampling.repetition_penalty, 0.01, 100.0)
    check_range("seed", sampling.seed, 0, MAX_SEED)
    check_range("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0)
    check_range("presence_penalty", sampling.presence_penalty, -2.0, 2.0)
    check_range("max_tokens", options.max_tokens, 1, _MAX_INT)
    check_range("top_logprobs", options.top_logprobs, 0, MAX_TOP_LOGPROBS)
    check_range("n", options.n, 1, MAX_N)
    _check_bias(sampling.logit_bias)
    _check_kv_cache(options.kv_cache, has_draft=has_draft)
    if options.constraint is not None and has_draft:
        msg = "constraint and draft_model cannot be combined: the draft model would propose tokens that are not allowed"
        raise ValidationError(
            msg, hint=Hint(HintCode.OMIT_ONE, name="constraint", other="draft_model"), param="constraint"
        )
    if isinstance(options.stop, str) or not all(isinstance(stop, str) for stop in options.stop):
        msg = f"stop must be a tuple of strings, not {options.stop!r}"
        raise ValidationError(msg, param="stop")
    if any(not stop for stop in options.stop):
        msg = "stop is empty"
        raise ValidationError(msg, hint=HintCode.NONEMPTY_STOP, param="stop")


def declared(generation_config: Mapping[str, object]) -> SamplingParameters:
    """Return the sampling parameters of a generation_config.json, without those that are invalid."""

    def number(key: str, low: float, high: float) -> float | None:
        value = generation_config.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and low <= value <= high else None  # type: ignore[operator, arg-type] # checked

    top_k = number("top_k", 0, _MAX_INT)
    is_greedy = generation_config.get("do_sample") is False
    return SamplingParameters(
        temperature=0.0 if is_greedy else number("temperature", 0.0, MAX_TEMPERATURE),
        top_p=number("top_p", 0.0, 1.0),
        top_k=None if top_k is None else int(top_k),
        min_p=number("min_p", 0.0, 1.0),
        repetition_penalty=number("repetition_penalty", 0.01, 100.0),
    )


def settled(asked: SamplingParameters, of_model: SamplingParameters) -> SamplingParameters:
    """Fill the unset fields of a request from those of the model, then from the defaults of the product."""
    unset = [field.name for field in attrs.fields(SamplingParameters) if getattr(asked, field.name) is None]
    values = {name: getattr(of_model, name) for name in unset}
    return attrs.evolve(
        asked, **{name: getattr(_DEFAULTS, name) if value is None else value for name, value in values.items()}
    )


def rows(
    first_id: int, prompt: tuple[int, ...], options: GenerationOptions, model: LoadRequest, grammar: str | None = None
) -> list[Row]:
    """Return the rows for the answers to one prompt, with every value settled and ids from ``first_id`` on.

    Raises ContextLengthExceeded for a prompt that leaves no token for an answer.
    """
    limit = options.max_tokens or model.max_tokens or MAX_TOKENS
    max_tokens = context_window.answer_limit(len(prompt), limit, model.context_length)
    sampling = settled(options.sampling, model.defaults)
    return [
        Row(
            id=first_id + number,
            prompt=prompt,
            max_tokens=max_tokens,
            sampling=attrs.evolve(sampling, seed=_seed(sampling.seed, number)),
            kv_cache=options.kv_cache,
            top_logprobs=options.top_logprobs,
            grammar=grammar,
        )
        for number in range(options.n)
    ]


def _seed(seed: int | None, number: int) -> int | None:
    """Return the seed of one of several answers: each has its own, and all follow from the first."""
    return None if seed is None else (seed + number) % (MAX_SEED + 1)


def _check_bias(logit_bias: Sequence[tuple[int, float]]) -> None:
    for _, bias in logit_bias:
        check_range("logit_bias", bias, -100.0, 100.0)
    if len({token for token, _ in logit_bias}) < len(logit_bias):
        msg = "logit_bias names a token twice"
        raise ValidationError(msg, param="logit_bias")


def _check_kv_cache(cache: KVCacheOptions, *, has_draft: bool) -> None:
    check_range("quantized_kv_start", cache.quantized_start, 0, _MAX_INT)
    check_range("max_kv_size", cache.max_size, 8, _MAX_INT)
    check_choice("kv_bits", cache.bits, _KV_BITS)
    check_choice("kv_group_size", cache.group_size, KV_GROUP_SIZES)
    if cache.bits is not None and cache.max_size is not None:
        msg = "kv_bits and max_kv_size cannot be combined: a cache that drops tokens cannot be quantised"
        raise ValidationError(msg)
    if has_draft and (cache.bits is not None or cache.max_size is not None):
        name = "kv_bits" if cache.bits is not None else "max_kv_size"
        msg = f"{name} and draft_model cannot be combined: a rejected token could not be removed from the cache"
        raise ValidationError(msg, hint=Hint(HintCode.OMIT_ONE, name=name, other="draft_model"))
