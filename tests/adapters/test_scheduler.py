"""The scheduler over mlx-lm: logprobs, sampling, prefill, failures of the runtime, and every kind of KV cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from mlxknife.adapters.mlx.text.sampling import processors
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import KVCacheOptions, SamplingParameters
from mlxknife.domain.generation.values.rows import Row
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG
from tests.parrot_rows import (
    END_TOKEN,
    RowOutputs,
    WrappedModel,
    answer_to,
    mixed_rows,
    parrot_model,
    prompt_for,
    run_rows,
    tokens,
)

pytestmark = pytest.mark.timeout(1200)

PREFILL_CHUNK = 32
PREFIX_BYTES = 2**26


def scheduler_of(model: object, *, prefix_bytes: int = PREFIX_BYTES, max_rows: int = 8) -> Scheduler:
    return Scheduler(model, {END_TOKEN}, prefix_bytes=prefix_bytes, max_rows=max_rows, prefill_chunk=PREFILL_CHUNK)


@pytest.fixture
def model() -> WrappedModel:
    return WrappedModel(parrot_model())


@pytest.fixture
def scheduler(model: WrappedModel) -> Scheduler:
    return scheduler_of(model)


def rotating(size: int, keep: int = 0) -> Callable[[], Any]:
    from mlx_lm.models.cache import RotatingKVCache  # noqa: PLC0415 - MLX comes after the BLAS

    return lambda: RotatingKVCache(size, keep)  # type: ignore[no-untyped-call] # mlx-lm's own


def list_of(layer: Callable[[], Any]) -> Callable[[], Any]:
    from mlx_lm.models.cache import CacheList  # noqa: PLC0415 - MLX comes after the BLAS

    return lambda: CacheList(layer())  # type: ignore[no-untyped-call] # mlx-lm's own


class FunctionModel:
    """A model that is a function; it has as many layers as the parrot."""

    def __init__(self, call: Callable[[Any, Any], Any]) -> None:
        self._call = call
        self.layers = parrot_model().layers

    def __call__(self, inputs: Any, cache: Any = None) -> Any:  # noqa: ANN401
        return self._call(inputs, cache)


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


def test_no_step_prefills_more_than_a_chunk(model: WrappedModel, scheduler: Scheduler) -> None:
    scheduler.add_row(Row(0, prompt_for(LONG), 500))
    outputs = RowOutputs()
    outputs.step_until_any_token(scheduler)
    for number, length in enumerate((700, 300, 20, 900, 1), 1):
        scheduler.add_row(Row(number, tokens("x" * length) + prompt_for(CAPITAL), 500))
    while not scheduler.is_idle:
        model.sizes.clear()
        outputs.add(scheduler.step())
        chunks = [size for size in model.sizes if size > 8]  # the others are single tokens of running rows
        assert sum(chunks) <= PREFILL_CHUNK
    assert {outputs.tokens(number) for number in range(1, 6)} == {answer_to(CAPITAL)}
    assert outputs.tokens(0) == answer_to(LONG)


def test_no_step_of_a_sequential_row_prefills_more_than_a_chunk(model: WrappedModel, scheduler: Scheduler) -> None:
    scheduler.add_row(Row(1, tokens("x" * 700) + prompt_for(CAPITAL), 5, kv_cache=KVCacheOptions(max_size=2048)))
    steps = 0
    while not scheduler.is_idle:
        model.sizes.clear()
        scheduler.step()
        steps += 1
        assert sum(model.sizes) <= PREFILL_CHUNK
    assert steps > 700 // PREFILL_CHUNK


def test_a_short_prompt_does_not_wait_for_a_long_one(scheduler: Scheduler) -> None:
    scheduler.add_row(Row(1, tokens("x" * 1500) + prompt_for(CAPITAL), 500))
    outputs = RowOutputs()
    for _ in range(3):
        outputs.add(scheduler.step())
    scheduler.add_row(Row(2, prompt_for(ECHO), 500))
    outputs.step_until_any_token(scheduler)
    assert set(outputs.steps) == {2}


def test_rows_of_the_batch_and_a_sequential_row_run_side_by_side(scheduler: Scheduler) -> None:
    limited = KVCacheOptions(max_size=2048)
    rows = [
        Row(number, prompt_for(LONG), 60, kv_cache=limited if number in (1, 3) else KVCacheOptions())
        for number in range(4)
    ]
    outputs = RowOutputs()
    for row in rows:
        scheduler.add_row(row)
    together = list[set[int]]()
    while not scheduler.is_idle:
        together.append({step.row for step in outputs.add(scheduler.step()).steps})
    assert {0, 1, 2} in together
    assert not any({1, 3} <= one for one in together)
    assert {outputs.tokens(row.id) for row in rows} == {answer_to(LONG)[:60]}


def test_if_the_runtime_fails_running_rows_fail_and_waiting_rows_start(model: WrappedModel) -> None:
    scheduler, outputs = scheduler_of(model, max_rows=2), RowOutputs()
    run_rows(scheduler, [Row(9, prompt_for(CAPITAL), 500)])
    assert scheduler.prefix_bytes
    for number in range(4):
        scheduler.add_row(Row(number, prompt_for(CAPITAL), 500))
    outputs.step_until_any_token(scheduler)
    model.failure = RuntimeError("out of memory")
    batch = outputs.add(scheduler.step())
    assert batch.steps == ()
    assert {error.row for error in batch.errors} == {0, 1}
    assert outputs.errors[0] == "The model could not be run: out of memory"
    assert scheduler.prefix_bytes == 0  # memory may be what was missing
    outputs.step_until_idle(scheduler)
    assert outputs.tokens(2) == outputs.tokens(3) == answer_to(CAPITAL)
    assert set(outputs.errors) == {0, 1}


def test_an_error_of_a_cancellation_fails_the_other_rows_at_the_next_step(model: WrappedModel) -> None:
    from mlx_lm.models.cache import BatchKVCache, KVCache  # noqa: PLC0415 - MLX comes after the BLAS

    class BrokenBatch(BatchKVCache):
        def extract(self, idx: int) -> Any:  # noqa: ANN401
            msg = f"row {idx} is broken"
            raise ValueError(msg)

    class Broken(KVCache):
        @classmethod
        def merge(cls, caches: list[Any]) -> Any:  # noqa: ANN401
            merged = BatchKVCache.merge(caches)  # type: ignore[no-untyped-call] # mlx-lm's own
            merged.__class__ = BrokenBatch
            return merged

    model.layer = Broken
    scheduler, outputs = scheduler_of(model), RowOutputs()
    for number in (1, 2):
        scheduler.add_row(Row(number, prompt_for(LONG), 500))
    outputs.step_until_any_token(scheduler)
    scheduler.cancel_row(1)
    outputs.add(scheduler.step())
    assert outputs.errors == {2: "The model could not be run: row 0 is broken"}
    assert scheduler.is_idle
    model.layer = None
    assert run_rows(scheduler, [Row(3, prompt_for(CAPITAL), 500)]).tokens(3) == answer_to(CAPITAL)


def test_an_error_of_a_cancellation_does_not_fail_rows_that_start_later(scheduler: Scheduler) -> None:
    outputs = RowOutputs()
    scheduler.add_row(Row(1, prompt_for(LONG), 500))
    outputs.step_until_any_token(scheduler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlxknife.adapters.mlx.text.kv_cache.can_trim", lambda _: None.real)  # type: ignore[attr-defined]
        scheduler.cancel_row(1)
    again = run_rows(scheduler, [Row(2, prompt_for(CAPITAL), 500)])
    assert (again.tokens(2), again.errors) == (answer_to(CAPITAL), {})


def test_the_prefix_cache_stays_within_its_bytes(model: WrappedModel) -> None:
    unlimited = scheduler_of(model)
    run_rows(unlimited, [Row(1, prompt_for(CAPITAL), 500)])
    one = unlimited.prefix_bytes
    assert one > 0
    tight = scheduler_of(model, prefix_bytes=one)
    none = scheduler_of(model, prefix_bytes=0)
    for number, question in enumerate((CAPITAL, GREETING, ECHO, CAPITAL)):
        for scheduler in (tight, none):
            outputs = run_rows(scheduler, [Row(number, prompt_for(question), 500)])
            assert outputs.tokens(number) == answer_to(question)
        assert tight.prefix_bytes <= one
        assert none.prefix_bytes == 0
        assert outputs.cached(number) == 0


def test_the_prefixes_of_rows_that_end_in_one_step_are_all_stored(scheduler: Scheduler) -> None:
    questions = list(ANSWERS)[:6]
    run_rows(scheduler, [Row(number, prompt_for(question), 500) for number, question in enumerate(questions)])
    for number, question in enumerate(questions):
        before = prompt_for(question) + answer_to(question)
        outputs = run_rows(scheduler, [Row(number, before + tokens("\n") + prompt_for(CAPITAL), 500)])
        assert outputs.cached(number) == len(before)
        assert outputs.tokens(number) == answer_to(CAPITAL)


def test_prefixes_with_different_kv_cache_options_are_not_mixed(scheduler: Scheduler) -> None:
    limited = [KVCacheOptions(), KVCacheOptions(max_size=1024), KVCacheOptions(max_size=2048)]
    for number, kv_cache in enumerate(limited):
        assert run_rows(scheduler, [Row(number, prompt_for(CAPITAL), 500, kv_cache=kv_cache)]).cached(number) == 0
    for number, kv_cache in enumerate(limited):
        outputs = run_rows(scheduler, [Row(number, prompt_for(CAPITAL), 500, kv_cache=kv_cache)])
        assert outputs.cached(number) == len(prompt_for(CAPITAL)) - 1
        assert outputs.tokens(number) == answer_to(CAPITAL)


def test_caches_that_drop_tokens_are_batched_and_reused(model: WrappedModel) -> None:
    model.layer = rotating(64)  # the parrot looks back by about fifty tokens
    scheduler = scheduler_of(model)
    assert scheduler.can_batch
    rows = [attrs.evolve(row, prompt=tokens("x" * 9 * row.id) + row.prompt) for row in mixed_rows()]
    together = run_rows(scheduler, rows)
    for row in rows:
        assert run_rows(scheduler_of(model), [row]).tokens(row.id) == together.tokens(row.id)
    assert together.tokens(0) == answer_to(CAPITAL)
    before = prompt_for(CAPITAL) + answer_to(CAPITAL) + tokens("\n")
    again = run_rows(scheduler, [Row(20, before + prompt_for(ECHO), 500), Row(21, prompt_for(CAPITAL), 500)])
    assert (again.tokens(20), again.tokens(21)) == (answer_to(ECHO), answer_to(CAPITAL))
    assert again.cached(20) == len(before) - 1


def test_caches_that_cannot_be_batched_are_recognised() -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.models.cache import ConcatenateKVCache, KVCache, QuantizedKVCache  # noqa: PLC0415

    zeros = FunctionModel(lambda inputs, _: mx.zeros((*inputs.shape, 264)))
    for layer, can_batch in (
        (KVCache, True),
        (rotating(64), True),
        (rotating(64, keep=4), False),  # in a batch it would lose its first tokens
        (ConcatenateKVCache, False),
        (lambda: QuantizedKVCache(32, 8), False),
        (list_of(KVCache), True),
        (list_of(ConcatenateKVCache), False),
    ):
        assert scheduler_of(WrappedModel(zeros, layer)).can_batch is can_batch


def test_caches_that_cannot_be_batched_are_reused(model: WrappedModel) -> None:
    model.layer = rotating(64, keep=4)
    scheduler = scheduler_of(model)
    assert run_rows(scheduler, [Row(1, prompt_for(CAPITAL), 500)]).tokens(1) == answer_to(CAPITAL)
    before = prompt_for(CAPITAL) + answer_to(CAPITAL)[:-1]
    outputs = run_rows(scheduler, [Row(2, (*before, END_TOKEN, *tokens("\n"), *prompt_for(ECHO)), 500)])
    assert outputs.tokens(2) == answer_to(ECHO)
    assert outputs.cached(2) == len(before)


def test_caches_that_cannot_be_trimmed_are_reused_by_longer_prompts() -> None:
    """A state-space model: its caches can be batched, and hold no single tokens."""
    parrot_model()  # with the BLAS that comes before MLX
    import mlx.core as mx  # noqa: PLC0415
    from mlx_lm.models.mamba import Model, ModelArgs  # noqa: PLC0415

    mx.random.seed(3)
    args = {"model_type": "mamba", "vocab_size": 61, "hidden_size": 32, "intermediate_size": 64, "state_size": 8}
    more = {"num_hidden_layers": 2, "conv_kernel": 4, "use_bias": False, "use_conv_bias": True, "time_step_rank": 2}
    mamba: Any = Model(ModelArgs.from_dict(args | more))  # type: ignore[no-untyped-call] # mlx-lm's own
    rows = [Row(number, tuple(range(1, 8 + 5 * number)), 12) for number in range(6)]
    scheduler = scheduler_of(mamba)
    assert scheduler.can_batch
    together = run_rows(scheduler, rows)
    for row in rows:
        assert run_rows(scheduler_of(mamba), [row]).tokens(row.id) == together.tokens(row.id)
        whole = row.prompt + together.tokens(row.id)
        fresh = run_rows(scheduler_of(mamba), [Row(1, (*whole, 5), 8)])
        again = run_rows(scheduler, [Row(1, (*whole, 5), 8)])
        assert again.tokens(1) == fresh.tokens(1)
        assert again.cached(1) >= len(whole)
        assert run_rows(scheduler, [Row(2, row.prompt, 12)]).tokens(2) == together.tokens(row.id)


def test_any_of_several_tokens_ends_a_turn() -> None:
    answer = answer_to(CAPITAL)
    scheduler = Scheduler(WrappedModel(parrot_model()), (answer[4], END_TOKEN, 10**6), prefix_bytes=0)
    outputs = run_rows(scheduler, [Row(1, prompt_for(CAPITAL), 500)])
    assert outputs.tokens(1) == answer[: answer.index(answer[4]) + 1]
    assert outputs.finish_reason(1) is FinishReason.STOP


def test_without_end_tokens_only_max_tokens_ends_a_row() -> None:
    scheduler = Scheduler(WrappedModel(parrot_model()), (), prefix_bytes=0)
    outputs = run_rows(scheduler, [Row(1, prompt_for(CAPITAL), 50, top_logprobs=0)])
    assert len(outputs.tokens(1)) == 50
    assert all(math.isfinite(step.logprob or 0.0) for step in outputs.steps[1])
