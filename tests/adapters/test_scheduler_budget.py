"""The KV budget: no more rows run at once than it allows, and each row gets its whole answer in the end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlxknife.adapters.mlx.text import kv_budget
from mlxknife.adapters.mlx.text.kv_budget import KVBudget, reserved
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.rows import Row
from tests.parrot.answers import LONG
from tests.parrot_rows import END_TOKEN, WrappedModel, parrot_model, prompt_for

pytestmark = pytest.mark.timeout(1200)

_TOKENS = 20


def _bytes_per_token() -> int:
    """Return the bytes of the keys and values of a token: for each head of each layer, as float32."""
    attention = parrot_model().layers[0].self_attn
    return int(2 * 4 * len(parrot_model().layers) * attention.k_proj.weight.shape[0])


def _rows(count: int) -> list[Row]:
    return [Row(number, prompt_for(LONG), _TOKENS) for number in range(count)]


def _largest_batch(kv_bytes: int | None) -> int:
    """Run six rows; return the largest number of them that had a token in one step."""
    scheduler = Scheduler(
        WrappedModel(parrot_model()), {END_TOKEN}, prefix_bytes=0, kv_bytes=kv_bytes, max_rows=8, prefill_chunk=256
    )
    answers: dict[int, list[int]] = {row.id: [] for row in _rows(6)}
    for row in _rows(6):
        scheduler.add_row(row)
    largest = 0
    while not scheduler.is_idle:
        batch = scheduler.step()
        assert not batch.errors
        largest = max(largest, len(batch.steps))
        for step in batch.steps:
            answers[step.row].append(step.token)
    assert len({tuple(tokens) for tokens in answers.values()}) == 1
    assert [len(tokens) for tokens in answers.values()] == [_TOKENS] * 6
    return largest


@pytest.mark.parametrize("count", [1, 2, 4])
def test_as_many_rows_run_as_the_budget_allows(count: int) -> None:
    one = _bytes_per_token() * (len(prompt_for(LONG)) + _TOKENS)
    assert _largest_batch(count * one) == count


def test_a_high_limit_alone_delays_no_row_and_a_long_answer_does() -> None:
    one_token = SimpleNamespace(nbytes=0.5, shape=(1, 1, 1))
    budget = KVBudget.of([SimpleNamespace(keys=one_token, values=one_token)], 2 * 2048)
    limit = 32_768
    row = Row(1, (0,) * 24, limit)
    assert reserved(row) == 24 + 1024
    assert budget.fits(row, [reserved(row)])
    assert budget.fits(row, [reserved(row, 1000)])
    assert not budget.fits(row, [reserved(row, 1001)])
    assert reserved(row, limit - 1) == 24 + limit


def test_a_row_that_has_grown_leaves_no_space_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_budget, "_AHEAD", 4)
    first, second = (Row(number, prompt_for(LONG), _TOKENS) for number in (1, 2))
    limit = 2 * _bytes_per_token() * (len(first.prompt) + _TOKENS - 1)
    scheduler = Scheduler(parrot_model(), {END_TOKEN}, prefix_bytes=0, kv_bytes=limit)
    scheduler.add_row(first)
    tokens = list[int]()
    while not scheduler.is_idle:
        tokens += [step.row for step in scheduler.step().steps]
        if len(tokens) == _TOKENS - 4:  # all that is left is reserved now
            scheduler.add_row(second)
    assert tokens == [1] * _TOKENS + [2] * _TOKENS


def test_a_row_alone_always_runs() -> None:
    assert _largest_batch(0) == 1


def test_without_a_budget_all_rows_run() -> None:
    assert _largest_batch(None) == 6
