"""Logprobs, penalties and sampling of rows over mlx-lm."""

from __future__ import annotations

from typing import Any

import pytest

from mlxknife.adapters.mlx.text.sampling import processors
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.request import KVCacheOptions, SamplingParameters
from mlxknife.domain.generation.values.rows import Row
from tests.adapters.schedulers import FunctionModel, scheduler_of
from tests.parrot.answers import CAPITAL, ECHO, GREETING
from tests.parrot_rows import (
    WrappedModel,
    answer_to,
    parrot_model,
    prompt_for,
    run_rows,
    tokens,
)

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def model() -> WrappedModel:
    return WrappedModel(parrot_model())


@pytest.fixture
def scheduler(model: WrappedModel) -> Scheduler:
    return scheduler_of(model)


@pytest.mark.parametrize("kv_cache", [KVCacheOptions(), KVCacheOptions(max_size=2048)], ids=["batch", "sequential"])
def test_logprobs_are_those_of_the_model(scheduler: Scheduler, kv_cache: KVCacheOptions) -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    prompt, answer = prompt_for(CAPITAL), answer_to(CAPITAL)
    outputs = run_rows(scheduler, [Row(1, prompt, 500, kv_cache=kv_cache, top_logprobs=4)])
    logits = parrot_model()(mx.array([prompt + answer]))[0, len(prompt) - 1 : -1]
    expected: Any = (logits - mx.logsumexp(logits, axis=-1, keepdims=True)).tolist()
    for step, logprobs in zip(outputs.steps[1], expected, strict=True):
        assert step.logprob == pytest.approx(logprobs[step.token], abs=1e-4)
        assert [logprob for _, logprob in step.top] == pytest.approx(sorted(logprobs)[:-5:-1], abs=1e-3)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_logprobs_of_half_precision_can_be_read(name: str) -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    def halved(inputs: Any, cache: Any) -> Any:  # noqa: ANN401
        return parrot_model()(inputs, cache=cache).astype(getattr(mx, name))

    outputs = run_rows(
        scheduler_of(WrappedModel(FunctionModel(halved))), [Row(1, prompt_for(CAPITAL), 500, top_logprobs=2)]
    )
    assert outputs.tokens(1) == answer_to(CAPITAL)
    assert all(step.top[0] == (step.token, step.logprob) for step in outputs.steps[1])
    assert all(-0.1 < (step.logprob or 0.0) <= 0.0 for step in outputs.steps[1])


@pytest.mark.parametrize("kv_cache", [KVCacheOptions(), KVCacheOptions(max_size=2048)], ids=["batch", "sequential"])
def test_penalties_and_bias_change_the_tokens(scheduler: Scheduler, kv_cache: KVCacheOptions) -> None:
    e, plain = tokens("e")[0], answer_to(ECHO)
    samplings = (
        SamplingParameters(logit_bias=((e, -100.0),)),
        SamplingParameters(logit_bias=((e, 100.0),)),
        SamplingParameters(frequency_penalty=-2.0),
        SamplingParameters(repetition_penalty=100.0),
        SamplingParameters(repetition_penalty=1.0, frequency_penalty=0.0, presence_penalty=0.0, logit_bias=()),
    )
    outputs = run_rows(
        scheduler,
        [Row(number, prompt_for(ECHO), 60, sampling, kv_cache) for number, sampling in enumerate(samplings, 1)],
    )
    assert e not in outputs.tokens(1)
    assert set(outputs.tokens(2)) == {e}
    assert outputs.tokens(3)[0] == plain[0]  # the tokens of the question do not count
    assert outputs.tokens(4)[:8] != plain[:8]
    assert outputs.tokens(5) == plain[:60]


def test_openai_penalties_look_at_the_answer_and_repetition_at_prompt_and_answer() -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    prompt, answer = (5, 6), [7, 7, 8]
    openai = SamplingParameters(frequency_penalty=1.0, presence_penalty=0.5, logit_bias=((6, 3.0),))
    repetition = SamplingParameters(repetition_penalty=2.0)
    for sampling, expected in ((openai, [1.0, 4.0, -1.5, -0.5, 1.0]), (repetition, [0.5, 0.5, 0.5, 0.5, 1.0])):
        for so_far, result in (([*prompt, *answer], expected), ([*prompt], [*expected[:2], 1.0, 1.0, 1.0])):
            logits = mx.ones((1, 10))
            for processor in processors(Row(1, prompt, 9, sampling)):
                logits = processor(mx.array(so_far), logits)
            assert logits[0, 5:].tolist() == result


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParameters(),
        SamplingParameters(temperature=0.0, seed=1),
        SamplingParameters(temperature=1e-40, seed=1),
        SamplingParameters(temperature=1.0, top_p=0.0, seed=1),
        SamplingParameters(temperature=1.0, top_k=1, seed=1),
        SamplingParameters(temperature=1.0, min_p=1.0),
        SamplingParameters(temperature=1e-3, top_k=10**6, seed=1),
    ],
)
def test_sampling_without_a_choice_is_greedy(scheduler: Scheduler, sampling: SamplingParameters) -> None:
    assert run_rows(scheduler, [Row(1, prompt_for(CAPITAL), 500, sampling)]).tokens(1) == answer_to(CAPITAL)


def test_rows_without_a_seed_differ(scheduler: Scheduler) -> None:
    sampling = SamplingParameters(temperature=3.0)
    outputs = run_rows(scheduler, [Row(number, prompt_for(GREETING), 30, sampling) for number in range(6)])
    assert len({outputs.tokens(number) for number in range(6)}) == 6
