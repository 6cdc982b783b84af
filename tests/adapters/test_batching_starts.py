"""A row that cannot even begin ends by itself: the batch knows nothing of it yet."""

from __future__ import annotations

from typing import Any

import pytest

from mlxknife.adapters.mlx.text import scheduler
from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.domain.generation.values.generation import Sampling
from mlxknife.domain.generation.values.rows import Row
from tests.contracts.flock import END_TOKEN, Told, Wrapped, answer, asked, parrot, run, tokens
from tests.parrot.answers import CAPITAL, ECHO, LONG

pytestmark = pytest.mark.timeout(1200)

_BAD_SEED = 666


@pytest.fixture(params=[True, False], ids=["together", "one_by_one"])
def batches(request: pytest.FixtureRequest) -> MlxBatches:
    parrot()  # with the BLAS that comes before MLX
    from mlx_lm.models.cache import ConcatenateKVCache  # noqa: PLC0415

    model = Wrapped(parrot(), None if request.param else ConcatenateKVCache)
    return MlxBatches(model, {END_TOKEN}, budget=2**26, places=8, piece=32)


def _running(batches: MlxBatches) -> Told:
    """Return what is told of row 0, which speaks."""
    told = Told()
    batches.admit(Row(0, asked(LONG), 60))
    while not told.steps:
        told.add(batches.step())
    return told


def _to_the_end(batches: MlxBatches, told: Told) -> None:
    while not batches.is_idle:
        told.add(batches.step())


@pytest.mark.parametrize("part", ["sampler", "processors"])
@pytest.mark.parametrize(
    "failure", [ValueError("no such seed"), OverflowError("no such seed"), OSError("no such seed")]
)
def test_whatever_cannot_be_made_for_a_row_ends_that_row_only(
    batches: MlxBatches, part: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = getattr(scheduler, part)

    def made(asked_for: Any, *more: Any) -> Any:  # noqa: ANN401 - whatever the part makes
        if getattr(asked_for, "sampling", asked_for).seed == _BAD_SEED:
            raise failure
        return make(asked_for, *more)

    monkeypatch.setattr(scheduler, part, made)
    told = _running(batches)
    batches.admit(Row(1, asked(CAPITAL), 500, Sampling(seed=_BAD_SEED)))
    batches.admit(Row(2, asked(CAPITAL), 500))
    batches.admit(Row(3, asked(CAPITAL), 500, Sampling(seed=_BAD_SEED)))
    _to_the_end(batches, told)
    assert told.errors == dict.fromkeys((1, 3), "The model could not be run: no such seed")
    assert (told.tokens(0), told.tokens(2)) == (answer(LONG)[:60], answer(CAPITAL))
    assert batches.remembered  # one bad row takes nothing from those who ask the same again
    batches.admit(Row(1, asked(CAPITAL), 500, Sampling(seed=_BAD_SEED)))
    assert [error.row for error in batches.step().errors] == [1]  # also where nobody else is there
    assert batches.is_idle


def test_what_was_kept_and_cannot_be_gone_on_from_is_forgotten_with_the_row_that_needed_it() -> None:
    parrot()
    from mlx_lm.models.cache import KVCache  # noqa: PLC0415 - MLX comes after the BLAS

    class Uncopied(KVCache):
        def __deepcopy__(self, _: object) -> Any:  # noqa: ANN401
            msg = "nothing is left to copy into"
            raise RuntimeError(msg)

    batches = MlxBatches(Wrapped(parrot()), {END_TOKEN}, budget=2**26, places=8, piece=32)
    past = asked(CAPITAL) + answer(CAPITAL) + tokens("\n")
    run(batches, [Row(9, asked(CAPITAL), 500)])
    found = batches._prefixes.longest(past)  # noqa: SLF001 - nothing else makes a cache that fails just then
    assert found is not None
    for layer in found[0].value:
        layer.__class__ = Uncopied
    told = _running(batches)
    batches.admit(Row(1, past + asked(ECHO), 500))
    _to_the_end(batches, told)
    assert told.errors == {1: "The model could not be run: nothing is left to copy into"}
    assert told.tokens(0) == answer(LONG)[:60]
    again = run(batches, [Row(1, past + asked(ECHO), 500)])
    assert again.tokens(1) == answer(ECHO)


def test_a_row_that_cannot_begin_is_told_of_in_the_step_in_which_the_runtime_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(row: Row) -> Any:  # noqa: ANN401 - it returns nothing
        raise ValueError(row.id)

    model = Wrapped(parrot())
    batches = MlxBatches(model, {END_TOKEN}, budget=2**26, places=8, piece=32)
    told = _running(batches)
    monkeypatch.setattr(scheduler, "processors", refuse)
    model.failure = RuntimeError("out of memory")
    batches.admit(Row(1, asked(CAPITAL), 500))
    told.add(batches.step())
    assert told.errors == {
        0: "The model could not be run: out of memory",
        1: "The model could not be run: 1",
    }
    assert batches.is_idle
