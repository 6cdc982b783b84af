"""In whatever order rows are added, cancelled and stepped, each gives the same tokens. ``make stress`` tries more."""

from __future__ import annotations

from functools import cache

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.request import KVCacheOptions
from mlxknife.domain.generation.values.rows import Row
from tests.parrot.answers import CAPITAL, ECHO, STOP
from tests.parrot_rows import (
    END_TOKEN,
    NAN_TOKEN,
    RowOutputs,
    WrappedModel,
    mixed_rows,
    next_prompt,
    parrot_model,
    prompt_for,
    run_rows,
    tokens,
)

pytestmark = pytest.mark.timeout(3600)

PREFILL_CHUNK = 16
MAX_ROWS = 3
PREFIX_BYTES = 300_000
"""Bytes for the prefixes of about five rows, so that some are evicted."""
LIMITED = KVCacheOptions(max_size=512)


@cache
def menu() -> list[Row]:
    """Return the rows to choose from: of all kinds, with common prefixes, and one that fails."""
    short = [attrs.evolve(row, max_tokens=min(row.max_tokens, 20)) for row in mixed_rows()]
    rows = [
        *short,
        Row(0, next_prompt(CAPITAL, ECHO), 12),
        Row(0, next_prompt(CAPITAL, STOP), 12, top_logprobs=2),
        Row(0, tokens("x" * 90) + prompt_for(STOP), 10),
        Row(0, (END_TOKEN,), 3),
        Row(0, (*prompt_for(CAPITAL), NAN_TOKEN), 5),
        Row(0, next_prompt(CAPITAL, ECHO), 12, kv_cache=LIMITED),
    ]
    return [attrs.evolve(row, id=number) for number, row in enumerate(rows)]


def new_scheduler(*, has_draft: bool) -> Scheduler:
    return Scheduler(
        WrappedModel(parrot_model(), gives_nan=True),
        {END_TOKEN},
        draft=WrappedModel(parrot_model()) if has_draft else None,
        prefix_bytes=PREFIX_BYTES,
        max_rows=MAX_ROWS,
        prefill_chunk=PREFILL_CHUNK,
    )


@cache
def tokens_alone(*, has_draft: bool) -> list[tuple[int, ...]]:
    """Return the tokens of each row of the menu without other rows and prefixes."""
    return [run_rows(new_scheduler(has_draft=has_draft), [row]).tokens(row.id) for row in menu()]


class Orders(RuleBasedStateMachine):
    """Adds, cancels and steps; ``kinds`` holds the number in the menu of each row."""

    has_draft = False

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = new_scheduler(has_draft=self.has_draft)
        self.kinds: dict[int, int] = {}
        self.cancelled: dict[int, int] = {}
        """The number of tokens of a row when it was cancelled."""
        self.outputs = RowOutputs()

    @rule(kind=st.integers(0, len(menu()) - 1))
    def add_row(self, kind: int) -> None:
        if self.has_draft:
            kind = min(kind, len(menu()) - 2)  # KV cache options and a draft model cannot be combined
        number = len(self.kinds)
        self.scheduler.add_row(attrs.evolve(menu()[kind], id=number))
        self.kinds[number] = kind

    @precondition(lambda self: self.kinds)
    @rule(choice=st.integers(0))
    def cancel_row(self, choice: int) -> None:
        number = choice % len(self.kinds)
        self.scheduler.cancel_row(number)
        if self.outputs.finish_reason(number) is None and number not in self.outputs.errors:
            self.cancelled.setdefault(number, len(self.outputs.tokens(number)))

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        for _ in range(count):
            batch = self.outputs.add(self.scheduler.step())
            assert len(batch.steps) <= MAX_ROWS + 1  # a sequential row runs beside the batch

    @invariant()
    def each_row_gives_the_tokens_that_it_gives_alone(self) -> None:
        for number, kind in self.kinds.items():
            so_far = self.outputs.tokens(number)
            assert so_far == tokens_alone(has_draft=self.has_draft)[kind][: len(so_far)]
            if number in self.cancelled:
                assert len(so_far) == self.cancelled[number]
        assert self.scheduler.prefix_bytes <= PREFIX_BYTES

    def teardown(self) -> None:
        self.outputs.step_until_idle(self.scheduler)
        for number, kind in self.kinds.items():
            has_failed = NAN_TOKEN in menu()[kind].prompt
            if number not in self.cancelled:
                assert self.outputs.tokens(number) == tokens_alone(has_draft=self.has_draft)[kind]
                assert (number in self.outputs.errors) == has_failed
                assert (self.outputs.finish_reason(number) is None) == has_failed
        self.scheduler.close()


class OrdersWithDraft(Orders):
    """The same with a draft model."""

    has_draft = True


@pytest.mark.parametrize("machine", [Orders, OrdersWithDraft])
@pytest.mark.parametrize("examples", [8, pytest.param(300, marks=pytest.mark.stress(part="scheduler-orders"))])
def test_the_order_changes_no_tokens(machine: type[Orders], examples: int) -> None:
    run_settings = settings(
        max_examples=examples,
        stateful_step_count=25,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=run_settings)
