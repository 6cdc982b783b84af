"""Model processes that do nothing by themselves: a test sends every event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from mlxknife.domain.engines.values import Accepted, EngineKind, Event, Request
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded

EventT = TypeVar("EventT", bound=Event)


@attrs.define(eq=False)
class ManualProcess:
    """See ``ModelProcess``."""

    on_state: Callable[[ModelLoaded | KnifeError], None]
    load_request: LoadRequest | None = None
    requests: dict[int, Any] = attrs.field(factory=dict)
    """The requests that run."""
    cancelled: list[int] = attrs.field(factory=list)
    is_closed: bool = False
    has_crashed: bool = False
    has_loaded: bool = False
    _count: int = 0
    _callbacks: dict[int, Callable[[Any], None]] = attrs.field(factory=dict)

    @property
    def process_id(self) -> int | None:
        return None if self.is_closed else 1

    @property
    def place(self) -> str:
        """The token of the location that is loaded."""
        assert self.load_request is not None
        return self.load_request.location.token

    def load(self, request: LoadRequest) -> None:
        assert self.load_request is None, "a process loads one model"
        self.load_request = request

    def submit(self, request: Request[EventT], on_event: Callable[[EventT | KnifeError], None]) -> int:
        assert self.has_crashed or not self.is_closed
        assert self.has_loaded, "requests come after the model is loaded"
        self._count += 1
        if self.has_crashed:  # the pool is message of the crash in a moment
            return self._count
        self.requests[self._count] = request
        self._callbacks[self._count] = on_event
        return self._count

    def cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)
        self.requests.pop(request_id, None)
        self._callbacks.pop(request_id, None)

    def pause(self) -> None:
        return

    def resume(self) -> None:
        return

    def close(self) -> None:
        self.is_closed = True

    def loaded(self) -> None:
        """Report that the model is loaded."""
        if not self.is_closed:
            self.has_loaded = True
            self.on_state(ModelLoaded(0.5))

    def crash(self, error: KnifeError) -> None:
        """Crash: requests get the error, then the process is reported."""
        if self.is_closed:
            return
        self.is_closed = self.has_crashed = True
        callbacks, self._callbacks = list(self._callbacks.values()), {}
        self.requests.clear()
        for callback in callbacks:
            callback(error)
        self.on_state(error)

    def send(self, request_id: int, event: Event | KnifeError) -> None:
        """Send an event of a request."""
        if not self.is_closed and request_id in self._callbacks:
            self._callbacks[request_id](event)

    def text(self, request_id: int, text: str, index: int = 0) -> None:
        """Send some text of an answer."""
        self.send(request_id, Delta(index, (TextDelta(TextKind.ANSWER, text),)))

    def accept(self, request_id: int) -> None:
        """Accept a request."""
        self.send(request_id, Accepted(3))

    def finish(self, request_id: int, index: int = 0) -> None:
        """End an answer."""
        self.send(request_id, Delta(index, finish_reason=FinishReason.STOP))


@attrs.define
class ManualProcesses:
    """See ``ModelProcesses``."""

    started: list[ManualProcess] = attrs.field(factory=list)

    @property
    def running(self) -> list[ManualProcess]:
        """The processes that have not been closed and have not crashed."""
        return [process for process in self.started if not process.is_closed]

    def start(
        self, on_state: Callable[[ModelLoaded | KnifeError], None], likely: EngineKind = EngineKind.TEXT
    ) -> ManualProcess:
        del likely
        process = ManualProcess(on_state)
        self.started.append(process)
        return process
