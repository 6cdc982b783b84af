"""Streamed responses: when the head is sent, and what is sent in silence. The framing of events belongs to an API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

import attrs
from starlette.types import Send

from mlxknife.http.core.context import Headers

Event = TypeVar("Event")


@attrs.define(eq=False)
class UnreadBudget:
    """The bytes that wait for all clients together, because they read more slowly than their answers come.

    The socket of a client holds several megabytes more.
    """

    total: int
    """Above this, less may wait for each client."""
    most: int = 4_000_000
    """What may wait for one client."""
    least: int = 1_000_000
    """What may wait for one client while the total is exceeded. A reader of many answers needs some of it at times."""
    held: int = attrs.field(default=0, init=False)

    @property
    def share(self) -> int:
        """Return what may wait for one client now."""
        return self.most if self.held <= self.total else self.least


@attrs.define(eq=False)
class EventQueue(Generic[Event]):
    """Carries events from callbacks on the event loop to one coroutine; a slow reader gets all pending ones at once.

    Events count with their ``size``, which is an estimate, until the coroutine asks for more. When more bytes wait than
    the share of one client, the event of ``on_full`` is the last one.
    """

    size: Callable[[Event], int]
    on_full: Callable[[], Event]
    budget: UnreadBudget
    _events: list[Event] = attrs.field(factory=list, init=False)
    _has_events: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _waiting: int = attrs.field(default=0, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _is_full: bool = attrs.field(default=False, init=False)

    def put(self, event: Event) -> None:
        """Add an event; called in the thread of the loop."""
        if self._is_full:
            return
        size = self.size(event)
        self._waiting += size
        self.budget.held += size
        self._is_full = self._waiting > self.budget.share
        self._events.append(self.on_full() if self._is_full else event)
        self._has_events.set()

    async def get_all(self) -> list[Event]:
        """Wait until there is an event, and return all that are there. Those of the last call count no more."""
        self._release_taken()
        await self._has_events.wait()
        self._has_events.clear()
        events, self._events = self._events, []
        self._taken, self._waiting = self._waiting, 0
        return events

    def close(self) -> None:
        """Drop all events, and take no more."""
        self._is_full = True
        self._release_taken()
        self._events, self._taken, self._waiting = [], self._waiting, 0
        self._release_taken()

    def _release_taken(self) -> None:
        self.budget.held -= self._taken
        self._taken = 0


@attrs.define(eq=False)
class StreamedResponse:
    """A response of many writes.

    The head goes out with the first of them, so that an error before it can still be a status. Inside ``async with``,
    ``keep_alive`` is written whenever nothing was written for ``silence`` seconds; it starts the response, too.
    """

    send: Send
    headers: Headers
    keep_alive: bytes
    silence: float
    has_started: bool = attrs.field(default=False, init=False)
    _last_write: float = attrs.field(default=0.0, init=False)
    _lock: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _timer: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        """Begin to watch for silence."""
        self._last_write = asyncio.get_running_loop().time()
        self._timer = asyncio.create_task(self._fill_silence())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the watch; the response stays open until ``finish``."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)

    async def write(self, data: bytes) -> None:
        """Send a part of the response."""
        await self._send(data, more=True)

    async def finish(self, data: bytes) -> None:
        """Send the last part."""
        await self._send(data, more=False)

    async def _send(self, data: bytes, *, more: bool) -> None:
        async with self._lock:
            if not self.has_started:
                await self.send({"type": "http.response.start", "status": 200, "headers": list(self.headers)})
                self.has_started = True
            await self.send({"type": "http.response.body", "body": data, "more_body": more})
            self._last_write = asyncio.get_running_loop().time()

    async def _fill_silence(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            left = self._last_write + self.silence - loop.time()
            if left > 0:
                await asyncio.sleep(left)
            else:
                await self.write(self.keep_alive)
