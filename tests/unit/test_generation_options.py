"""Generation options: which values are valid, and which value holds where a request sets none."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from mlxknife.domain.errors import ContextLengthExceeded, ValidationError
from mlxknife.domain.generation.rules import options
from mlxknife.domain.generation.rules.options import MAX_N, MAX_SEED, MAX_TOKENS
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import (
    MAX_TOP_LOGPROBS,
    GenerationOptions,
    KVCacheOptions,
    SamplingParameters,
)
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location

_TOKENS = (5, 6, 7)


def _model(**changes: Any) -> LoadRequest:  # noqa: ANN401 - fields of several types
    return LoadRequest(Location("model", ()), "fast", **changes)


def _row(asked: GenerationOptions | None = None, **model: Any) -> Row:  # noqa: ANN401
    (row,) = options.rows(0, _TOKENS, asked or GenerationOptions(), _model(**model))
    return row


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (-0.1, 2.01, math.nan, math.inf, -math.inf)),
        *(("top_p", value) for value in (-0.1, 1.1, math.nan, math.inf)),
        *(("top_k", value) for value in (-1, 2**31, math.nan)),
        *(("min_p", value) for value in (-0.1, 1.1, math.nan, math.inf)),
        *(("repetition_penalty", value) for value in (-1.0, 0.0, 100.1, math.nan, math.inf)),
        *(("seed", value) for value in (-1, 2**63)),
        *(("frequency_penalty", value) for value in (-2.1, 2.1, math.nan)),
        *(("presence_penalty", value) for value in (-2.1, 2.1, math.nan)),
    ],
)
def test_sampling_parameters_have_bounds(name: str, value: float) -> None:
    sampling = SamplingParameters(**{name: value})  # type: ignore[arg-type] # a careless caller gives a float
    with pytest.raises(ValidationError, match=rf"^{name} must be between .* not {value}") as caught:
        options.check(GenerationOptions(sampling))
    assert caught.value.param == name


@pytest.mark.parametrize("value", ["0.5", True, [1], b"1"])
@pytest.mark.parametrize("name", ["temperature", "top_k", "seed", "frequency_penalty"])
def test_a_sampling_parameter_that_is_no_number_is_rejected(name: str, value: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValidationError, match=rf"^{name} must be a number, not ") as caught:
        options.check(GenerationOptions(SamplingParameters(**{name: value})))
    assert caught.value.param == name


@pytest.mark.parametrize(
    "bias", [((1, 101.0),), ((1, -100.1),), ((1, math.nan),), ((1, 1.0), (1, 2.0)), ((2, "x"),)], ids=str
)
def test_an_invalid_logit_bias_is_rejected(bias: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValidationError, match=r"^logit_bias ") as caught:
        options.check(GenerationOptions(SamplingParameters(logit_bias=bias)))
    assert caught.value.param == "logit_bias"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_tokens", (0, -1, 2**31, "7", True)),
        ("top_logprobs", (-1, MAX_TOP_LOGPROBS + 1, "1")),
        ("n", (0, -1, MAX_N + 1, "1")),
    ],
)
def test_counts_have_bounds(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(ValidationError, match=rf"^{name} must be ") as caught:
            options.check(GenerationOptions(**{name: value}))
        assert caught.value.param == name


@pytest.mark.parametrize(
    ("cache", "name"),
    [
        *((KVCacheOptions(bits=bits), "kv_bits") for bits in (0, 1, 7, 16, -4)),
        *((KVCacheOptions(group_size=size), "kv_group_size") for size in (0, 16, 63, 256)),
        *((KVCacheOptions(quantized_start=start), "quantized_kv_start") for start in (-1, 2**31)),
        *((KVCacheOptions(max_size=size), "max_kv_size") for size in (-1, 0, 7, 2**31)),
        (KVCacheOptions(bits=4, max_size=512), "kv_bits and max_kv_size"),
    ],
)
def test_invalid_kv_cache_options_are_rejected_by_name(cache: KVCacheOptions, name: str) -> None:
    with pytest.raises(ValidationError, match=f"^{name} "):
        options.check(GenerationOptions(kv_cache=cache))


@pytest.mark.parametrize(
    ("cache", "name"), [(KVCacheOptions(bits=8), "kv_bits"), (KVCacheOptions(max_size=64), "max_kv_size")]
)
def test_kv_cache_options_and_a_draft_model_cannot_be_combined(cache: KVCacheOptions, name: str) -> None:
    with pytest.raises(ValidationError, match=f"^{name} and draft_model cannot be combined") as caught:
        options.check(GenerationOptions(kv_cache=cache), has_draft=True)
    assert caught.value.hint
    options.check(GenerationOptions(kv_cache=cache))
    options.check(GenerationOptions(SamplingParameters(temperature=1.0), max_tokens=1, stop=("a",)), has_draft=True)


@pytest.mark.parametrize("stop", [("",), ("a", "")])
def test_an_empty_stop_string_is_rejected(stop: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=r"^stop is empty") as caught:
        options.check(GenerationOptions(stop=stop))
    assert caught.value.hint
    assert caught.value.param == "stop"


@pytest.mark.parametrize("stop", ["ab", (7,), (b"a",), ("a", None)], ids=str)
def test_stop_strings_must_be_a_tuple_of_strings(stop: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValidationError, match=r"^stop must be a tuple of strings") as caught:
        options.check(GenerationOptions(stop=stop))
    assert caught.value.param == "stop"


@pytest.mark.parametrize(
    "valid",
    [
        GenerationOptions(),
        GenerationOptions(SamplingParameters(0.0, 0.0, 0, 0.0, 0.01, 0), KVCacheOptions(2, 32, 0), 1, ("\n",), 0, 1),
        GenerationOptions(
            SamplingParameters(2.0, 1.0, 2**31 - 1, 1.0, 100.0, MAX_SEED, -2.0, 2.0, ((0, -100.0), (1, 100.0))),
            KVCacheOptions(8, 128, 2**31 - 1),
            2**31 - 1,
            (),
            MAX_TOP_LOGPROBS,
            MAX_N,
        ),
        GenerationOptions(
            SamplingParameters(temperature=1, top_p=1, min_p=0), KVCacheOptions(max_size=8), stop=("a", "a", " ")
        ),
    ],
)
def test_valid_options_are_accepted(valid: GenerationOptions) -> None:
    options.check(valid)


def test_the_generation_config_of_a_model_gives_its_defaults() -> None:
    config = {"temperature": 0.6, "top_p": 1, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1, "seed": 3}
    declared = options.declared(config | {"do_sample": True, "eos_token_id": [1, 2]})
    assert declared == SamplingParameters(0.6, 1.0, 20, 0.05, 1.1)
    assert (type(declared.top_p), type(declared.top_k)) == (float, int)


def test_a_model_that_does_not_sample_is_greedy() -> None:
    assert options.declared({"do_sample": False, "temperature": 0.6}).temperature == 0.0
    assert options.declared({"do_sample": None, "temperature": 0.6}).temperature == 0.6


@pytest.mark.parametrize(
    "value", [None, "0.5", True, [], {}, -1, -0.1, math.nan, math.inf, -math.inf, 10**400, 2**31, -(10**400)]
)
def test_invalid_values_of_a_generation_config_are_left_out(value: object) -> None:
    keys = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    assert options.declared(dict.fromkeys(keys, value)) == SamplingParameters()


def test_the_request_wins_over_the_model_and_the_model_over_the_product() -> None:
    asked = GenerationOptions(SamplingParameters(temperature=0.0, seed=0), KVCacheOptions(bits=4), max_tokens=7)
    defaults = options.declared({"temperature": 0.6, "top_k": 20, "top_p": 0})
    row = _row(asked, defaults=defaults, context_length=100, max_tokens=50)
    assert row.sampling == SamplingParameters(0.0, 0.0, 20, 0.0, 1.0, 0)
    assert (row.prompt, row.max_tokens, row.kv_cache) == (_TOKENS, 7, KVCacheOptions(bits=4))


def test_without_any_value_everything_but_the_seed_is_settled() -> None:
    row = _row()
    assert row.sampling == SamplingParameters(0.7, 0.95, 0, 0.0, 1.0, None)
    assert (row.max_tokens, row.top_logprobs) == (MAX_TOKENS, None)
    options.check(GenerationOptions(row.sampling, max_tokens=row.max_tokens))


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"])
def test_zero_is_a_value(field: str) -> None:
    zero, half = (SamplingParameters(**{field: value}) for value in (0, 0.5))  # type: ignore[arg-type] # a field's name
    assert getattr(_row(GenerationOptions(zero), defaults=half).sampling, field) == 0
    assert getattr(_row(defaults=zero).sampling, field) == 0


def test_every_option_reaches_every_row() -> None:
    sampling = SamplingParameters(0.5, 0.8, 3, 0.1, 1.2, 4, 0.1, -0.2, ((3, 5.0),))
    asked = GenerationOptions(sampling, KVCacheOptions(max_size=64), 9, ("x",), 2, n=3)
    rows = options.rows(7, _TOKENS, asked, _model())
    assert [row.id for row in rows] == [7, 8, 9]
    for number, row in enumerate(rows):
        assert row.sampling == attrs.evolve(sampling, seed=4 + number)
        assert (row.prompt, row.max_tokens, row.kv_cache, row.top_logprobs) == (_TOKENS, 9, asked.kv_cache, 2)


def test_several_answers_have_seeds_that_follow_from_the_first() -> None:
    rows = options.rows(0, _TOKENS, GenerationOptions(SamplingParameters(seed=MAX_SEED), n=3), _model())
    assert [row.sampling.seed for row in rows] == [MAX_SEED, 0, 1]
    rows = options.rows(0, _TOKENS, GenerationOptions(n=3), _model())
    assert [row.sampling.seed for row in rows] == [None] * 3


@pytest.mark.parametrize("context_length", [1, 2, 3])
def test_a_prompt_that_leaves_no_token_for_an_answer_is_rejected(context_length: int) -> None:
    message = (
        f"prompt is too long: it has 3 tokens, and this model's maximum context length is {context_length} tokens$"
    )
    with pytest.raises(ContextLengthExceeded, match=message) as caught:
        _row(GenerationOptions(max_tokens=1), context_length=context_length)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("asked", "of_server", "context_length", "expected"),
    [
        (None, None, 4, 1),
        (None, None, 100, 97),
        (None, None, 10**6, MAX_TOKENS),
        (50, None, 100, 50),
        (97, None, 100, 97),
        (98, None, 100, 97),
        (10_000, None, 10**6, 10_000),
        (1, None, None, 1),
        (None, None, None, MAX_TOKENS),
        (10_000, None, None, 10_000),
        (None, 9, None, 9),
        (20, 9, None, 20),
        (None, 200, 100, 97),
    ],
)
def test_the_length_of_an_answer(
    asked: int | None, of_server: int | None, context_length: int | None, expected: int
) -> None:
    row = _row(GenerationOptions(max_tokens=asked), max_tokens=of_server, context_length=context_length)
    assert row.max_tokens == expected
