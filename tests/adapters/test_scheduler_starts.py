"""A row whose start fails ends alone: no runner knows of it yet."""

from __future__ import annotations

from typing import Any

import pytest

from mlxknife.adapters.mlx.text import scheduler as scheduler_module
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.domain.generation.values.rows import Row
from tests.parrot.answers import CAPITAL, ECHO, LONG
from tests.parrot_rows import (
    END_TOKEN,
    RowOutputs,
    WrappedModel,
    answer_to,
    next_prompt,
    parrot_model,
    prompt_for,
    run_rows,
)

pytestmark = pytest.mark.timeout(1200)

_BAD_SEED = 666


def _new_scheduler(model: WrappedModel) -> Scheduler:
    return Scheduler(model, {END_TOKEN}, prefix_bytes=2**26, max_rows=8, prefill_chunk=32)


@pytest.fixture(params=[True, False], ids=["batched", "sequential"])
def scheduler(request: pytest.FixtureRequest) -> Scheduler:
    parrot_model()  # with the BLAS that comes before MLX
    from mlx_lm.models.cache import ConcatenateKVCache  # noqa: PLC0415

    return _new_scheduler(WrappedModel(parrot_model(), None if request.param else ConcatenateKVCache))


def _running(scheduler: Scheduler) -> RowOutputs:
    """Return the outputs of a scheduler in which row 0 runs."""
    outputs = RowOutputs()
    scheduler.add_row(Row(0, prompt_for(LONG), 60))
    outputs.step_until_any_token(scheduler)
    return outputs


@pytest.mark.parametrize("part", ["sampler", "processors"])
@pytest.mark.parametrize(
    "failure", [ValueError("no such seed"), OverflowError("no such seed"), OSError("no such seed")]
)
def test_an_error_at_the_start_of_a_row_fails_that_row_only(
    scheduler: Scheduler, part: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = getattr(scheduler_module, part)

    def failing(row: Any, *more: Any) -> Any:  # noqa: ANN401 - what the part returns
        if getattr(row, "sampling", row).seed == _BAD_SEED:
            raise failure
        return make(row, *more)

    monkeypatch.setattr(scheduler_module, part, failing)
    outputs = _running(scheduler)
    scheduler.add_row(Row(1, prompt_for(CAPITAL), 500, SamplingParameters(seed=_BAD_SEED)))
    scheduler.add_row(Row(2, prompt_for(CAPITAL), 500))
    scheduler.add_row(Row(3, prompt_for(CAPITAL), 500, SamplingParameters(seed=_BAD_SEED)))
    outputs.step_until_idle(scheduler)
    assert outputs.errors == dict.fromkeys((1, 3), "The model could not be run: no such seed")
    assert (outputs.tokens(0), outputs.tokens(2)) == (answer_to(LONG)[:60], answer_to(CAPITAL))
    assert scheduler.prefix_bytes  # a bad row costs the others no prefix
    scheduler.add_row(Row(1, prompt_for(CAPITAL), 500, SamplingParameters(seed=_BAD_SEED)))
    assert [error.row for error in scheduler.step().errors] == [1]  # also without other rows
    assert scheduler.is_idle


def test_if_a_stored_prefix_fails_all_are_dropped_and_only_its_row_fails() -> None:
    parrot_model()
    from mlx_lm.models.cache import KVCache  # noqa: PLC0415 - MLX comes after the BLAS

    class Uncopyable(KVCache):
        def __deepcopy__(self, _: object) -> Any:  # noqa: ANN401
            msg = "no memory for a copy"
            raise RuntimeError(msg)

    scheduler = _new_scheduler(WrappedModel(parrot_model()))
    second = next_prompt(CAPITAL, ECHO)
    run_rows(scheduler, [Row(9, prompt_for(CAPITAL), 500)])
    found = scheduler._prefixes.longest(second)  # noqa: SLF001 - nothing else makes a cache that fails just then
    assert found is not None
    for layer in found[0].value:
        layer.__class__ = Uncopyable
    outputs = _running(scheduler)
    scheduler.add_row(Row(1, second, 500))
    outputs.step_until_idle(scheduler)
    assert outputs.errors == {1: "The model could not be run: no memory for a copy"}
    assert outputs.tokens(0) == answer_to(LONG)[:60]
    again = run_rows(scheduler, [Row(1, second, 500)])
    assert again.tokens(1) == answer_to(ECHO)


def test_a_row_that_cannot_start_is_reported_in_the_step_in_which_the_runtime_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(row: Row) -> Any:  # noqa: ANN401 - it returns nothing
        raise ValueError(row.id)

    model = WrappedModel(parrot_model())
    scheduler = _new_scheduler(model)
    outputs = _running(scheduler)
    monkeypatch.setattr(scheduler_module, "processors", fail)
    model.failure = RuntimeError("out of memory")
    scheduler.add_row(Row(1, prompt_for(CAPITAL), 500))
    outputs.add(scheduler.step())
    assert outputs.errors == {
        0: "The model could not be run: out of memory",
        1: "The model could not be run: 1",
    }
    assert scheduler.is_idle
