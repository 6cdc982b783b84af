"""An engine without a model that takes its time, and writes down which rows it had at which step, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

import attrs
import msgspec

from mlxknife.domain.generation.values.rows import BatchStep, Row
from tests.contracts.flock import END_TOKEN, answer, asked
from tests.fakes.batches import FakeBatches
from tests.fakes.hosts import FakeHostedModel, FakeHosts
from tests.fakes.loaders import scripted_model
from tests.parrot import ANSWERS


class Note(msgspec.Struct, frozen=True):
    """A line of the journal. The clock is the machine's, so that every process reads the same."""

    at: float
    what: str
    """``row``, ``cancel`` or ``step``."""
    rows: tuple[int, ...]
    step: int
    """How many steps there were by then."""


@attrs.define
class NotedBatches(FakeBatches):
    """Writes down what is done to it."""

    note: Callable[[Note], None] = attrs.field(kw_only=True)
    steps: int = attrs.field(default=0, init=False)

    def admit(self, row: Row) -> None:
        FakeBatches.admit(self, row)
        self._note("row", row.id)

    def cancel(self, row_id: int) -> None:
        self._note("cancel", row_id)
        FakeBatches.cancel(self, row_id)

    def step(self) -> BatchStep:
        self.steps += 1
        step = FakeBatches.step(self)
        self._note("step", *(one.row for one in step.steps))
        return step

    def _note(self, what: str, *rows: int) -> None:
        self.note(Note(time.monotonic(), what, rows, self.steps))


def slow_hosts(place: str, step_seconds: float, journal: TextIO) -> FakeHosts:
    """Return what hosts the model of one place; it says what the parrot says, a token a step."""

    def note(written: Note) -> None:
        journal.write(msgspec.json.encode(written).decode() + "\n")

    def batches() -> NotedBatches:
        answers = {asked(question): answer(question) for question in ANSWERS}
        return NotedBatches(answers, END_TOKEN, note=note)

    return FakeHosts({place: FakeHostedModel(scripted_model(), batches)}, step_seconds=step_seconds)
