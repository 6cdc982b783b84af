"""In whatever order rows come, go and are stepped, each says what it says alone; ``make stress`` tries more orders."""

from __future__ import annotations

from functools import cache

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.domain.generation.values.rows import Row
from tests.contracts.flock import END_TOKEN, POISON, Told, Wrapped, answer, asked, mixed, parrot, run, tokens
from tests.parrot.answers import CAPITAL, ECHO, STOP

pytestmark = pytest.mark.timeout(3600)

PIECE = 16
PLACES = 3
ROOM = 300_000
"""Bytes for what about five rows leave: some of it is driven out."""
_PAST = asked(CAPITAL) + answer(CAPITAL) + tokens("\n")


def menu() -> list[Row]:
    """Return what is asked for: rows that begin alike, of all kinds, and one that fails."""
    short = [attrs.evolve(row, max_tokens=min(row.max_tokens, 20)) for row in mixed()]
    rows = [
        *short,
        Row(0, _PAST + asked(ECHO), 12),
        Row(0, _PAST + asked(STOP), 12, top_logprobs=2),
        Row(0, tokens("x" * 90) + asked(STOP), 10),
        Row(0, (END_TOKEN,), 3),
        Row(0, (*asked(CAPITAL), POISON), 5),
    ]
    return [attrs.evolve(row, id=number) for number, row in enumerate(rows)]


def opened() -> MlxBatches:
    model = Wrapped(parrot(), is_poisoned=True)
    return MlxBatches(model, {END_TOKEN}, budget=ROOM, places=PLACES, piece=PIECE)


@cache
def alone() -> list[tuple[int, ...]]:
    """Return what each row of the menu says when nobody else is there and nothing is remembered."""
    return [run(opened(), [row]).tokens(row.id) for row in menu()]


class Orders(RuleBasedStateMachine):
    """Admits, cancels and steps; ``kinds`` knows which row of the menu each one is."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = opened()
        self.kinds: dict[int, int] = {}
        self.cancelled: dict[int, int] = {}
        """How many tokens were told of a row until it was cancelled."""
        self.told = Told()

    @rule(kind=st.integers(0, len(menu()) - 1))
    def admit(self, kind: int) -> None:
        number = len(self.kinds)
        self.batches.admit(attrs.evolve(menu()[kind], id=number))
        self.kinds[number] = kind

    @precondition(lambda self: self.kinds)
    @rule(choice=st.integers(0))
    def cancel(self, choice: int) -> None:
        number = choice % len(self.kinds)
        self.batches.cancel(number)
        if self.told.ended(number) is None and number not in self.told.errors:
            self.cancelled.setdefault(number, len(self.told.tokens(number)))

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        for _ in range(count):
            step = self.told.add(self.batches.step())
            assert len({one.row for one in step.steps}) == len(step.steps) <= PLACES

    @invariant()
    def each_says_what_it_says_alone(self) -> None:
        for number, kind in self.kinds.items():
            said = self.told.tokens(number)
            assert said == alone()[kind][: len(said)]
            if number in self.cancelled:
                assert len(said) == self.cancelled[number]
        assert self.batches.remembered <= ROOM

    def teardown(self) -> None:
        while not self.batches.is_idle:
            self.told.add(self.batches.step())
        for number, kind in self.kinds.items():
            has_failed = POISON in menu()[kind].prompt
            if number not in self.cancelled:
                assert self.told.tokens(number) == alone()[kind]
                assert (number in self.told.errors) == has_failed
                assert (self.told.ended(number) is None) == has_failed
        self.batches.close()


@pytest.mark.parametrize("examples", [8, pytest.param(300, marks=pytest.mark.stress)])
def test_order_changes_nothing(examples: int) -> None:
    how = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Orders, settings=how)
