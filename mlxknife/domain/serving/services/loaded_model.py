"""A loaded model, the leases that hold it, and the requests that run on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import attrs

from mlxknife.domain.engines.values import Event, Request
from mlxknife.domain.errors import KnifeError, WorkerLost
from mlxknife.domain.hints import HintCode
from mlxknife.domain.serving.services.servable_models import ServableModel
from mlxknife.domain.serving.values import ModelState
from mlxknife.ports.engines.processes import ModelProcess

EventT = TypeVar("EventT", bound=Event)
OnEvent: TypeAlias = Callable[[EventT | KnifeError], None]


@attrs.define(eq=False)
class PendingLease:
    """A lease that was asked for and not yet granted."""

    model: ServableModel
    on_lease: Callable[[Lease | KnifeError], None]
    is_withdrawn: bool = False

    def reply(self, reply: Lease | KnifeError) -> None:
        """Call back, unless the request was withdrawn meanwhile, perhaps inside the callback of another one."""
        if not self.is_withdrawn:
            self.on_lease(reply)
        elif isinstance(reply, Lease):
            reply.release()


@attrs.define(eq=False)
class LoadedModel:
    """A model that is loaded or being loaded."""

    model: ServableModel
    bytes: int
    last_used: float
    on_answered: Callable[[ServableModel], None]
    """Called when a request has been answered completely."""
    state: ModelState = ModelState.LOADING
    process: ModelProcess | None = None
    load_seconds: float | None = None
    leases: set[Lease] = attrs.field(factory=set)
    pending: list[PendingLease] = attrs.field(factory=list)
    """The leases that are granted when the model is loaded."""
    is_draining: bool = False
    """Whether another model waits for its memory, so that it grants no new leases."""
    _requests: dict[int, Callable[[KnifeError], None]] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model.name

    @property
    def running(self) -> int:
        """The number of requests that run or wait in the model process."""
        return len(self._requests)

    @property
    def is_leased(self) -> bool:
        """Whether a lease holds it or waits for it."""
        return bool(self.leases or self.pending)

    def note_use(self, now: float) -> None:
        """Note the time, unless a client waits for this model to end: its choice stays the oldest."""
        if not self.is_draining:
            self.last_used = now

    def submit(self, request: Request[EventT], on_event: OnEvent[EventT]) -> int | None:
        """Send a request; return its id, or None if the process is gone, which ``on_event`` gets as an error."""
        if self.process is None:
            on_event(self.lost())
            return None
        left = request.answer_count
        request_id = 0

        def receive(event: EventT | KnifeError) -> None:
            nonlocal left
            if request_id not in self._requests:  # cancelled inside the callback of another request
                return
            if not isinstance(event, KnifeError) and event.ends_answer:
                left -= 1
                if not left:
                    self.on_answered(self.model)
            if isinstance(event, KnifeError) or not left:
                self._requests.pop(request_id, None)
            on_event(event)

        request_id = self.process.submit(request, receive)
        self._requests[request_id] = on_event
        return request_id

    def cancel(self, request_id: int) -> None:
        """Drop a request."""
        if self._requests.pop(request_id, None) is not None and self.process is not None:
            self.process.cancel(request_id)

    def unload(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.close()
        self.process = None

    def fail(self, error: KnifeError) -> None:
        """End the process; everything that runs or waits gets the error."""
        self.unload()
        while self._requests:  # a callback may cancel others
            self._requests.pop(next(iter(self._requests)))(error)
        while self.pending:
            self.pending.pop(0).reply(error)

    def lost(self) -> WorkerLost:
        """Return the error for a request that comes after a crash."""
        return WorkerLost(f"The model process of '{self.name}' is gone", hint=HintCode.RETRY_STARTS_PROCESS)


@attrs.define(eq=False)
class Lease:
    """The right to use a loaded model, which stays loaded until the lease is released."""

    loaded: LoadedModel
    _on_release: Callable[[Lease], None]
    _requests: list[int] = attrs.field(factory=list)

    def submit(self, request: Request[EventT], on_event: OnEvent[EventT]) -> None:
        """Send a request.

        ``on_event`` is called in this thread, now or later: with ``Accepted``, then with events until each answer has
        ended. An error is the last call.
        """
        request_id = self.loaded.submit(request, on_event)
        if request_id is not None:
            self._requests.append(request_id)

    def cancel(self) -> None:
        """Drop every request that runs; no further events come."""
        requests, self._requests = self._requests, []
        for request_id in requests:
            self.loaded.cancel(request_id)

    def release(self) -> None:
        """Give the model back and drop its requests. Releasing twice is allowed."""
        self.cancel()
        self._on_release(self)
