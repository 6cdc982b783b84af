"""Model processes that are none: an engine runs on the asyncio loop of the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeVar

import attrs

from mlxknife.domain.engines.values import EngineKind, Event, Request
from mlxknife.domain.errors import KnifeError, ModelNotRunnable, WorkerLost
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.ports.engines.engine import AnyEngine
from tests.fakes.scripted_engine import ScriptedEngine

EventT = TypeVar("EventT", bound=Event)
_IDS = count(2**30)
"""No system gives a process such an id."""


@attrs.frozen
class FakeModel:
    """A model for a fake process: how its engine is made, or why it cannot be loaded."""

    engine: Callable[[], AnyEngine] = ScriptedEngine
    failure: KnifeError | None = None


@attrs.define
class _Request:
    on_event: Callable[[Any], None]
    answers: int


@attrs.define(eq=False)
class FakeProcess:
    """See ``ModelProcess``."""

    models: Mapping[str, FakeModel]
    on_state: Callable[[ModelLoaded | KnifeError], None]
    load_seconds: float
    prepare_seconds: float
    step_seconds: float
    process_id: int | None = attrs.field(factory=_IDS.__next__)
    engine: AnyEngine | None = None
    load_request: LoadRequest | None = None
    requests: list[Any] = attrs.field(factory=list)
    """Every request that was submitted."""
    cancelled: list[int] = attrs.field(factory=list)
    is_paused: bool = False
    _running: dict[int, _Request] = attrs.field(factory=dict)
    _next: asyncio.Handle | None = attrs.field(default=None, init=False)

    def load(self, request: LoadRequest) -> None:
        self.load_request = request
        asyncio.get_running_loop().call_later(self.load_seconds, self._load, self.models.get(request.location.token))

    def submit(self, request: Request[EventT], on_event: Callable[[EventT | KnifeError], None]) -> int:
        self.requests.append(request)
        request_id = len(self.requests)
        if self.process_id is not None:
            self._running[request_id] = _Request(on_event, request.answer_count)
            asyncio.get_running_loop().call_later(self.prepare_seconds, self._accept, request_id, request)
        return request_id

    def cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)
        self._running.pop(request_id, None)
        if self.engine is not None:
            self.engine.cancel(request_id)

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        self._schedule()

    def close(self) -> None:
        self.process_id = None
        self._running.clear()
        if self._next is not None:
            self._next.cancel()
        if self.engine is not None:
            self.engine.close()
        self.engine = None

    def crash(self, error: KnifeError | None = None) -> None:
        """Crash, as a process does that is killed."""
        if self.process_id is None:
            return
        error = error or WorkerLost("The model process was killed by SIGKILL")
        running = list(self._running.values())
        self.close()
        for request in running:
            request.on_event(error)
        self.on_state(error)

    def _load(self, model: FakeModel | None) -> None:
        if self.process_id is None:
            return
        if model is None or model.failure is not None:
            self.crash(ModelNotRunnable("The model could not be loaded") if model is None else model.failure)
            return
        self.engine = model.engine()
        self.on_state(ModelLoaded(self.load_seconds, self.engine.notes))
        self._schedule()

    def _accept(self, request_id: int, request: Request[Event]) -> None:
        running = self._running.get(request_id)
        if running is None or self.engine is None:
            return
        try:
            accepted = self.engine.submit(request_id, self.engine.tokenize(request, self.engine.render(request)))
        except KnifeError as exc:
            del self._running[request_id]
            running.on_event(exc)
        else:
            running.on_event(accepted)
            self._schedule()

    def _schedule(self) -> None:
        if self._next is None and self.engine is not None and not self.engine.is_idle and not self.is_paused:
            self._next = asyncio.get_running_loop().call_later(self.step_seconds, self._step)

    def _step(self) -> None:
        self._next = None
        if self.engine is None or self.is_paused:
            return
        for request_id, event in self.engine.step():
            running = self._running.get(request_id)
            if running is None:
                continue
            if not isinstance(event, KnifeError) and event.ends_answer:
                running.answers -= 1
                if not running.answers:
                    del self._running[request_id]
            running.on_event(event)
        self._schedule()


@attrs.define
class FakeProcesses:
    """See ``ModelProcesses``; ``models`` maps the token of a location to its model."""

    models: Mapping[str, FakeModel]
    load_seconds: float = 0.0
    prepare_seconds: float = 0.0
    """The time from the submission of a request until it is accepted or refused."""
    step_seconds: float = 0.0
    started: list[FakeProcess] = attrs.field(factory=list)

    def start(
        self, on_state: Callable[[ModelLoaded | KnifeError], None], likely: EngineKind = EngineKind.TEXT
    ) -> FakeProcess:
        del likely
        process = FakeProcess(self.models, on_state, self.load_seconds, self.prepare_seconds, self.step_seconds)
        self.started.append(process)
        return process
