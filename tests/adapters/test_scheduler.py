"""The scheduler over mlx-lm: prefill, failures of the runtime, and tokens that end a turn."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import KVCacheOptions
from mlxknife.domain.generation.values.rows import Row
from tests.adapters.schedulers import PREFILL_CHUNK, scheduler_of
from tests.parrot.answers import CAPITAL, ECHO, LONG
from tests.parrot_rows import (
    END_TOKEN,
    RowOutputs,
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
