"""Processes of models that are none: what they would do is done on the asyncio loop that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import count

import attrs

from mlxknife.domain.errors import EngineError, KnifeError, WorkerLost
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowError
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import Fell, HostedModel, HostEvent, Loaded
from mlxknife.ports.engines.batches import Batches

_NUMBERS = count(2**30)
"""No process of any system has a number so high, should somebody try to kill it."""


@attrs.frozen
class FakeHostedModel:
    """A model that a fake can host: how its batch is made, or why it cannot be loaded."""

    hosted: HostedModel
    batches: Callable[[], Batches]
    failure: KnifeError | None = None


@attrs.define(eq=False)
class FakeHost:
    """Fulfils ``ports.hosts.Host``."""

    on_event: Callable[[HostEvent], None]
    step_seconds: float
    process_id: int | None = attrs.field(factory=_NUMBERS.__next__)
    batches: Batches | None = None
    rows: list[Row] = attrs.field(factory=list)
    """Every row that was ever submitted."""
    cancelled: list[int] = attrs.field(factory=list)
    _next: asyncio.Handle | None = attrs.field(default=None, init=False)

    def load(self, model: FakeHostedModel | None, seconds: float) -> None:
        if self.process_id is None:
            return
        if model is None or model.failure is not None:
            self.die(EngineError("The model could not be loaded") if model is None else model.failure)
            return
        self.batches = model.batches()
        self.on_event(Loaded(model.hosted, seconds))
        self._go_on()

    def submit(self, row: Row) -> None:
        if self.batches is None:
            return
        self.rows.append(row)
        try:
            self.batches.admit(row)
        except KnifeError as exc:
            # A row that the model refuses is told so with a ValidationError.
            step = BatchStep(errors=(RowError(row.id, exc),))
            asyncio.get_running_loop().call_soon(self._tell, step)
        self._go_on()

    def cancel(self, row_id: int) -> None:
        self.cancelled.append(row_id)
        if self.batches is not None:
            self.batches.cancel(row_id)

    def close(self) -> None:
        self.process_id = None
        if self._next is not None:
            self._next.cancel()
        if self.batches is not None:
            self.batches.close()
        self.batches = None

    def die(self, error: KnifeError | None = None) -> None:
        """Fall, as a process does that is killed; nobody is told of one that is closed."""
        if self.process_id is None:
            return
        self.close()
        self.on_event(Fell(error or WorkerLost("The process of the model was ended by SIGKILL")))

    def _go_on(self) -> None:
        if self._next is None and self.batches is not None and not self.batches.is_idle:
            self._next = asyncio.get_running_loop().call_later(self.step_seconds, self._step)

    def _step(self) -> None:
        self._next = None
        if self.batches is not None:
            self._tell(self.batches.step())
        self._go_on()

    def _tell(self, step: BatchStep) -> None:
        if self.batches is not None and (step.steps or step.errors):
            self.on_event(step)


@attrs.define
class FakeHosts:
    """Fulfils ``ports.hosts.Hosts``; ``models`` has what is loaded from a location with such a token."""

    models: Mapping[str, FakeHostedModel]
    load_seconds: float = 0.0
    step_seconds: float = 0.0
    """What a step takes: this is the slow engine of the tests, too."""
    started: list[FakeHost] = attrs.field(factory=list)

    def start(self, location: Location, profile: str, on_event: Callable[[HostEvent], None]) -> FakeHost:
        del profile
        host = FakeHost(on_event, self.step_seconds)
        self.started.append(host)
        model = self.models.get(location.token)
        asyncio.get_running_loop().call_later(self.load_seconds, host.load, model, self.load_seconds)
        return host
