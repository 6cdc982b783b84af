"""The KV budget: no more rows run at once than it allows, and each row gets its whole answer in the end."""

from __future__ import annotations

import pytest

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


def test_a_row_alone_always_runs() -> None:
    assert _largest_batch(0) == 1


def test_without_a_budget_all_rows_run() -> None:
    assert _largest_batch(None) == 6
