"""Hearing what the process of a model tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlxknife.domain.generation.values.generation import Sampling
from mlxknife.domain.generation.values.rows import BatchStep, Row
from mlxknife.domain.serving.values.processes import Fell, HostEvent
from mlxknife.ports.engines.hosts import Host
from tests.contracts.flock import END_TOKEN, Told, asked
from tests.parrot.answers import LONG

_MUST_COME = 120


class Ear:
    """Hears what one host tells."""

    def __init__(self) -> None:
        self._events = asyncio.Queue[HostEvent]()
        self.told = Told()

    def hear(self, event: HostEvent) -> None:
        self._events.put_nowait(event)

    @property
    def heard_nothing(self) -> bool:
        return self._events.empty()

    async def next(self) -> HostEvent:
        async with asyncio.timeout(_MUST_COME):
            event = await self._events.get()
        if isinstance(event, BatchStep):
            self.told.add(event)
        return event

    async def fell(self) -> Fell:
        while not isinstance(event := await self.next(), Fell):
            pass
        return event

    async def until(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            assert isinstance(await self.next(), BatchStep)

    async def answers(self, host: Host, *rows: Row) -> Told:
        """Submit rows, and return what is told until all of them have ended or failed."""
        self.told = Told()
        for row in rows:
            host.submit(row)
        await self.until(lambda: all(self.told.ended(row.id) or row.id in self.told.errors for row in rows))
        return self.told


async def gone(host: Host) -> None:
    async with asyncio.timeout(_MUST_COME):
        while host.process_id is not None:  # noqa: ASYNC110 - a port has no event for it
            await asyncio.sleep(0.01)


def endless(number: int) -> Row:
    return Row(number, asked(LONG), 20_000, Sampling(temperature=1.0, seed=1), logit_bias=((END_TOKEN, -100.0),))
