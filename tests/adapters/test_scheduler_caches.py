"""KV caches of every kind in the scheduler, and the prefixes that rows leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.request import KVCacheOptions
from mlxknife.domain.generation.values.rows import Row
from tests.adapters.schedulers import FunctionModel, scheduler_of
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, ECHO, GREETING
from tests.parrot_rows import (
    END_TOKEN,
    WrappedModel,
    answer_to,
    mixed_rows,
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


def rotating(size: int, keep: int = 0) -> Callable[[], Any]:
    from mlx_lm.models.cache import RotatingKVCache  # noqa: PLC0415 - MLX comes after the BLAS

    return lambda: RotatingKVCache(size, keep)  # type: ignore[no-untyped-call] # mlx-lm's own


def list_of(layer: Callable[[], Any]) -> Callable[[], Any]:
    from mlx_lm.models.cache import CacheList  # noqa: PLC0415 - MLX comes after the BLAS

    return lambda: CacheList(layer())  # type: ignore[no-untyped-call] # mlx-lm's own


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
