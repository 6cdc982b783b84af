"""No more rows begin than there is memory for, as far as can be foreseen; each gets its whole answer in the end."""

from __future__ import annotations

import pytest

from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.domain.generation.values.rows import Row
from tests.contracts.flock import END_TOKEN, Wrapped, asked, parrot
from tests.parrot.answers import LONG

pytestmark = pytest.mark.timeout(1200)

_TOKENS = 20


def _bytes_of_a_token() -> int:
    """Return what the parrot remembers of a token: a key and a value for each head of each layer, as float32."""
    attention = parrot().layers[0].self_attn
    return int(2 * 4 * len(parrot().layers) * attention.k_proj.weight.shape[0])


def _rows(count: int) -> list[Row]:
    return [Row(number, asked(LONG), _TOKENS) for number in range(count)]


def _most_at_a_time(room: int | None) -> int:
    """Return how many of six rows had a token in one step; each is told its answer."""
    batches = MlxBatches(Wrapped(parrot()), {END_TOKEN}, budget=0, room=room, places=8, piece=256)
    said: dict[int, list[int]] = {row.id: [] for row in _rows(6)}
    for row in _rows(6):
        batches.admit(row)
    most = 0
    while not batches.is_idle:
        step = batches.step()
        assert not step.errors
        most = max(most, len(step.steps))
        for one in step.steps:
            said[one.row].append(one.token)
    assert len({tuple(tokens) for tokens in said.values()}) == 1
    assert [len(tokens) for tokens in said.values()] == [_TOKENS] * 6
    return most


@pytest.mark.parametrize("count", [1, 2, 4])
def test_so_many_rows_run_as_there_is_room_for(count: int) -> None:
    one = _bytes_of_a_token() * (len(asked(LONG)) + _TOKENS)
    assert _most_at_a_time(count * one) == count


def test_one_row_may_always_try() -> None:
    assert _most_at_a_time(0) == 1


def test_without_a_bound_all_run() -> None:
    assert _most_at_a_time(None) == 6
