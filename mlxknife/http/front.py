"""The front: what all requests of one application share, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import attrs

from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.serving.values.processes import Fallen, ResidentEvent
from mlxknife.http import logs
from mlxknife.http.guards.bodies import Bodies
from mlxknife.http.metrics import Metrics
from mlxknife.http.needs import Residents, Serving
from mlxknife.http.options import Options
from mlxknife.http.refusals import Full, Stopping

Result = TypeVar("Result")

_THREADS = 4
_TICK = 1.0


class Stoppable(Protocol):
    """A request that is being answered."""

    def stop(self) -> None:
        """End it with an error that says why."""
        ...


@attrs.define(eq=False)
class Front:
    """Admits requests, lends them threads, and ticks while a loop runs, whether or not anybody told it to start."""

    serving: Serving
    residents: Residents
    options: Options
    metrics: Metrics = attrs.field(factory=Metrics)
    is_stopping: bool = False
    bodies: Bodies = attrs.field(init=False)
    _running: set[Stoppable] = attrs.field(factory=set, init=False)
    _places_taken: int = attrs.field(default=0, init=False)
    _newcomers: set[object] = attrs.field(factory=set, init=False)
    _threads: ThreadPoolExecutor = attrs.field(init=False)
    _ticking: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _listing: asyncio.Task[tuple[ModelInfo, ...]] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Make what belongs to it alone."""
        self.bodies = Bodies(self.options)
        self._threads = ThreadPoolExecutor(_THREADS, "mlxknife-http")

    @property
    def in_flight(self) -> int:
        """How many requests wait or run."""
        return self._places_taken

    @property
    def is_full(self) -> bool:
        """Whether another request would be refused."""
        return self._places_taken >= self.options.max_requests

    @property
    def has_room_for_newcomers(self) -> bool:
        """Whether there will be a place left when all who were let in have taken theirs."""
        return self._places_taken + len(self._newcomers) < self.options.max_requests

    def expect(self, newcomer: object) -> None:
        """Count somebody whose request is there and has not taken its place yet."""
        self._newcomers.add(newcomer)

    def forget(self, newcomer: object) -> None:
        """Count somebody no more, who has taken a place or needs none."""
        self._newcomers.discard(newcomer)

    def check_place(self) -> None:
        """Raise Full or Stopping where a request could not be taken now."""
        if self.is_stopping:
            raise stopping()
        if self.is_full:
            raise self.refuse()

    def refuse(self) -> Full:
        """Count a refusal; return the error that says it."""
        self.metrics.refused()
        return Full(f"{self.options.max_requests} requests wait or run already", hint="Try again in a moment")

    @contextmanager
    def place(self, newcomer: object = None) -> Iterator[None]:
        """Hold a place while a request waits or runs. Raises Full or Stopping at once, before any work."""
        self.check_place()
        self.forget(newcomer)
        self._places_taken += 1
        try:
            yield
        finally:
            self._places_taken -= 1

    @contextmanager
    def answering(self, request: Stoppable) -> Iterator[None]:
        """Know of a request while it is answered, so that it can be told to end."""
        self._running.add(request)
        try:
            yield
        finally:
            self._running.discard(request)

    async def in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Do what takes time beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Return what can run; who asks while somebody is looking gets the same answer."""
        loop = asyncio.get_running_loop()
        if self._listing is None or self._listing.done() or self._listing.get_loop() is not loop:
            self._listing = loop.create_task(self.in_thread(self.serving.models))
        return await asyncio.shield(self._listing)

    def note(self, event: ResidentEvent) -> None:
        """Log what becomes of a model, and count its falls."""
        if isinstance(event, Fallen):
            self.metrics.fell(event.name)
        logs.resident(event)

    def wake(self) -> None:
        """See that the residents are ticked in the loop that runs now: a mounted application is told of no start."""
        loop = asyncio.get_running_loop()
        if self._ticking is None or self._ticking.done() or self._ticking.get_loop() is not loop:
            self._ticking = loop.create_task(self._tick())

    def stop_taking(self) -> None:
        """Take no more requests; those that run may come to their end."""
        self.is_stopping = True

    def end_requests(self) -> None:
        """Take no more requests, and end those that run, each with an error that says why."""
        self.stop_taking()
        for request in list(self._running):
            request.stop()

    def close(self) -> None:
        """End everything. Closing it twice is no mistake."""
        self.is_stopping = True
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.residents.close()

    async def _tick(self) -> None:
        while True:
            self.residents.tick()
            await asyncio.sleep(_TICK)


def stopping() -> Stopping:
    """Return the error for whoever is there when the server ends."""
    return Stopping("The server is stopping", hint="Try again in a moment")
