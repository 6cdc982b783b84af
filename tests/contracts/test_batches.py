"""What every ``Batches`` promises."""

from __future__ import annotations

from collections.abc import Callable, Generator

import attrs
import pytest

from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.generation import FinishReason, Sampling
from mlxknife.domain.generation.values.rows import Row
from mlxknife.ports.engines.batches import Batches
from tests.contracts.flock import END_TOKEN, POISON, Told, Wrapped, answer, asked, mixed, parrot, run, tokens
from tests.fakes.batches import FakeBatches
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG

pytestmark = pytest.mark.timeout(1200)

PIECE = 32


def _fake(places: int) -> FakeBatches:
    answers = {asked(question): answer(question) for question in ANSWERS}
    return FakeBatches(answers, END_TOKEN, places=places, piece=PIECE, poison=POISON)


def _fake_one_by_one(places: int) -> FakeBatches:
    return attrs.evolve(_fake(places), can_batch=False)


def _real(places: int) -> Batches:
    model = Wrapped(parrot(), is_poisoned=True)
    return MlxBatches(model, {END_TOKEN}, budget=2**26, places=places, piece=PIECE)


def _real_one_by_one(places: int) -> Batches:
    from mlx_lm.models.cache import ConcatenateKVCache  # noqa: PLC0415 - MLX comes after the BLAS

    model = Wrapped(parrot(), ConcatenateKVCache, is_poisoned=True)
    return MlxBatches(model, {END_TOKEN}, budget=2**26, places=places, piece=PIECE)


KINDS = [_fake, _fake_one_by_one, _real, _real_one_by_one]
Maker = Callable[[int], Batches]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__.strip("_"))
def make(request: pytest.FixtureRequest) -> Maker:
    parrot()  # with the BLAS that comes before MLX
    made: Maker = request.param
    return made


@pytest.fixture
def batches(make: Maker) -> Generator[Batches]:
    made = make(8)
    yield made
    made.close()


def test_a_row_says_its_answer_and_why_it_ended(batches: Batches) -> None:
    told = run(batches, [Row(5, asked(CAPITAL), 500)])
    assert told.tokens(5) == answer(CAPITAL)  # what ends the turn is told too
    assert told.ended(5) is FinishReason.STOP
    assert not told.errors


def test_a_row_ends_where_there_are_enough(batches: Batches) -> None:
    told = run(batches, [Row(number, asked(CAPITAL), number) for number in (1, 2, 5)])
    assert [told.tokens(number) for number in (1, 2, 5)] == [answer(CAPITAL)[:number] for number in (1, 2, 5)]
    assert {told.ended(number) for number in (1, 2, 5)} == {FinishReason.LENGTH}


def test_what_ends_a_turn_counts_more_than_the_number(batches: Batches) -> None:
    told = run(batches, [Row(1, asked(CAPITAL), len(answer(CAPITAL)))])
    assert told.ended(1) is FinishReason.STOP


def test_company_changes_nothing(make: Maker, batches: Batches) -> None:
    together = run(batches, mixed())
    for row in mixed():
        alone = run(make(1), [row])
        assert alone.tokens(row.id) == together.tokens(row.id)
        assert alone.ended(row.id) is together.ended(row.id) is not None


def test_the_same_seed_gives_the_same(batches: Batches) -> None:
    chance = Sampling(temperature=1.5, seed=11)
    rows = [Row(number, asked(GREETING), 30, chance) for number in range(3)]
    told = run(batches, rows)
    assert told.tokens(0) == told.tokens(1) == told.tokens(2)
    other = run(batches, [Row(9, asked(GREETING), 30, attrs.evolve(chance, seed=12))])
    assert other.tokens(9) != told.tokens(0)


def test_a_row_may_come_while_others_run(batches: Batches) -> None:
    told, rows = Told(), mixed()
    while rows or not batches.is_idle:
        if rows:
            batches.admit(rows.pop(0))
        for _ in range(3):
            told.add(batches.step())
    assert told.tokens(0) == answer(CAPITAL)
    assert all(told.ended(row.id) is not None for row in mixed())


def test_a_row_that_is_cancelled_is_told_of_no_more(batches: Batches) -> None:
    told = Told()
    for number, question in enumerate((LONG, CAPITAL, ECHO)):
        batches.admit(Row(number, asked(question), 500))
    while len(told.tokens(0)) < 3:
        told.add(batches.step())
    batches.cancel(0)
    while not batches.is_idle:
        told.add(batches.step())
    assert told.tokens(0) == answer(LONG)[:3]
    assert (told.tokens(1), told.tokens(2)) == (answer(CAPITAL), answer(ECHO))


@pytest.mark.parametrize("after", [0, 1, 2, 4])
def test_a_place_is_free_at_once(make: Maker, after: int) -> None:
    batches = make(1)
    batches.admit(Row(1, asked(LONG), 500))
    batches.admit(Row(2, asked(CAPITAL), 500))
    for _ in range(after):
        assert {step.row for step in batches.step().steps} <= {1}
    batches.cancel(1)
    reading = 1 + -(-len(asked(CAPITAL)) // PIECE)  # steps in which a prompt of its length is read
    heard = [step for _ in range(reading + 1) for step in batches.step().steps]
    assert (heard[0].row, heard[0].token) == (2, answer(CAPITAL)[0])
    batches.close()


def test_cancelling_what_is_not_there_is_no_mistake(batches: Batches) -> None:
    batches.cancel(3)
    run(batches, [Row(3, asked(CAPITAL), 2)])
    batches.cancel(3)
    batches.admit(Row(4, asked(CAPITAL), 2))
    batches.cancel(4)
    batches.cancel(4)
    assert batches.is_idle
    assert run(batches, [Row(4, asked(CAPITAL), 500)]).tokens(4) == answer(CAPITAL)


def test_what_cannot_be_is_refused_by_name_and_hurts_nobody(batches: Batches) -> None:
    batches.admit(Row(1, asked(CAPITAL), 500))
    told = Told()
    told.add(batches.step())
    for row, field in (
        (Row(1, asked(CAPITAL), 500), "id"),
        (Row(2, (*asked(CAPITAL), 264), 500), "prompt"),
        (Row(3, (-1,), 500), "prompt"),
        (Row(4, asked(CAPITAL), 500, logit_bias=((0, 1.0), (10**9, 1.0))), "logit_bias"),
    ):
        with pytest.raises(ValidationError, match=rf"^{field}\b"):
            batches.admit(row)
    while not batches.is_idle:
        told.add(batches.step())
    assert told.tokens(1) == answer(CAPITAL)
    assert set(told.steps) == {1}


def test_it_is_idle_until_a_row_comes_and_after_it_ended(batches: Batches) -> None:
    assert batches.is_idle
    assert batches.step().steps == ()
    batches.admit(Row(1, asked(CAPITAL), 1))
    assert not batches.is_idle
    run(batches)
    assert batches.is_idle


def test_a_long_prompt_keeps_nobody_waiting(batches: Batches) -> None:
    if not batches.can_batch:
        assert run(batches, [Row(1, asked(CAPITAL) * 20, 500)]).tokens(1) == answer(CAPITAL)
        return
    batches.admit(Row(1, asked(LONG), 500))
    told = Told()
    while not told.steps:
        told.add(batches.step())
    long = tokens("x" * 1000) + asked(CAPITAL)
    for number in (2, 3):
        batches.admit(Row(number, long, 500))
    steps = 0
    while 3 not in told.steps:
        step = told.add(batches.step())
        steps += 1
        assert 1 in {one.row for one in step.steps}  # at every step
    assert steps >= 2 * len(long) // PIECE
    while not batches.is_idle:
        told.add(batches.step())
    assert [told.tokens(number) for number in (1, 2, 3)] == [answer(LONG), answer(CAPITAL), answer(CAPITAL)]


def test_a_prompt_that_goes_on_is_not_computed_again(batches: Batches) -> None:
    first = asked(CAPITAL)
    assert run(batches, [Row(1, first, 500)]).cached(1) == 0
    second = first + answer(CAPITAL) + tokens("\n") + asked(ECHO)
    told = run(batches, [Row(2, second, 500)])
    assert told.tokens(2) == answer(ECHO)
    assert len(first + answer(CAPITAL)) - 1 <= told.cached(2) < len(second)


def test_what_was_said_until_a_row_was_cancelled_is_known(batches: Batches) -> None:
    first = asked(CAPITAL)
    batches.admit(Row(1, first, 500))
    told = Told()
    while len(told.tokens(1)) < 5:
        told.add(batches.step())
    batches.cancel(1)
    second = first + told.tokens(1) + (END_TOKEN,) + tokens("\n") + asked(ECHO)
    again = run(batches, [Row(2, second, 500)])
    assert again.tokens(2) == answer(ECHO)
    assert again.cached(2) >= len(first)


def test_a_prompt_that_is_known_as_a_whole_works(batches: Batches) -> None:
    whole = asked(CAPITAL) + answer(CAPITAL) + tokens("\n") + asked(ECHO)
    first = run(batches, [Row(1, whole, 1)])
    for number in (2, 3):
        again = run(batches, [Row(number, whole, 500)])
        assert again.tokens(number) == answer(ECHO)
        assert again.cached(number) < len(whole)
    assert first.tokens(1) == answer(ECHO)[:1]
    asked_and_said = whole + answer(ECHO)
    assert len(run(batches, [Row(5, asked_and_said, 2)]).tokens(5)) >= 1


def test_a_row_that_fails_hurts_nobody(batches: Batches) -> None:
    rows = mixed()
    sick = [Row(20, (*asked(GREETING), POISON), 50), Row(21, (POISON,), 50)]
    told = run(batches, [*rows[:3], *sick, *rows[3:]])
    assert set(told.errors) == {20, 21}
    assert all(message.startswith("The model could not be run") for message in told.errors.values())
    assert not {20, 21} & set(told.steps)
    healthy = run(batches, rows)
    assert all(told.tokens(row.id) == healthy.tokens(row.id) for row in rows)


def test_likelihoods_are_told_where_they_are_asked_for(batches: Batches) -> None:
    rows = [Row(number, asked(CAPITAL), 6, top_logprobs=count) for number, count in enumerate((None, 0, 1, 5))]
    told = run(batches, rows)
    for row in rows:
        for step in told.steps[row.id]:
            assert (step.logprob is None) == (row.top_logprobs is None)
            assert len(step.top) == (row.top_logprobs or 0)
            assert list(step.top) == sorted(step.top, key=lambda pair: -pair[1])
            assert step.logprob is None or step.logprob <= 0
            if step.top:
                assert step.top[0] == (step.token, step.logprob)


def test_one_that_is_closed_says_so(make: Maker) -> None:
    batches = make(2)
    batches.admit(Row(1, asked(CAPITAL), 500))
    batches.step()
    batches.close()
    batches.close()
    batches.cancel(1)
    assert batches.is_idle
    with pytest.raises(EngineError, match="closed"):
        batches.admit(Row(2, asked(CAPITAL), 500))
    with pytest.raises(EngineError, match="closed"):
        batches.step()
