"""The one place where callbacks of the domain become something that can be awaited."""

from __future__ import annotations

import asyncio

import attrs

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.requests import Told
from mlxknife.http.needs import Claim, Residents, Served

_HALVES = 2


async def claimed(residents: Residents, served: Served) -> Claim:
    """Wait until a model is there for us. Raises KnifeError; a wait that is cancelled leaves nothing behind."""
    granted: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()

    def on_claim(answer: Claim | KnifeError) -> None:
        if isinstance(answer, KnifeError):
            if not granted.done():
                granted.set_exception(answer)
        elif granted.done():
            answer.release()
        else:
            granted.set_result(answer)

    forget = residents.claim(served, on_claim)
    try:
        return await granted
    except asyncio.CancelledError:
        forget()
        if not granted.cancelled() and granted.exception() is None:  # it came while we were being cancelled
            granted.result().release()
        raise


@attrs.define(eq=False)
class Telling:
    """What is told of the answers of one request, to be taken in heaps: whoever is late gets all at once."""

    silence: float
    """After about how many seconds without anything an empty heap comes."""
    _heap: list[tuple[int, Told | KnifeError]] = attrs.field(factory=list, init=False)
    _waiter: asyncio.Future[None] | None = attrs.field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    _quiet_halves: int = attrs.field(default=0, init=False)

    def hear(self, index: int, told: Told | KnifeError) -> None:
        """Take what is told; called in the thread of the loop."""
        self._heap.append((index, told))
        self._quiet_halves = 0
        self._wake()

    async def heap(self) -> list[tuple[int, Told | KnifeError]]:
        """Return all that is there, at least one thing, or nothing after a silence."""
        if self._timer is None:
            self._watch()
        if not self._heap:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        heap, self._heap = self._heap, []
        return heap

    def close(self) -> None:
        """Stop watching for silence."""
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _watch(self) -> None:
        """Look twice in each silence, instead of setting a clock for each token."""
        self._timer = asyncio.get_running_loop().call_later(self.silence / _HALVES, self._look)

    def _look(self) -> None:
        self._quiet_halves += 1
        if self._quiet_halves >= _HALVES:
            self._quiet_halves = 0
            self._wake()
        self._watch()
