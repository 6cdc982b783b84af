"""Leases that are waited for, deltas that are merged, and work that ends when its client disconnects."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest
from mlxknife.domain.generation.values.generation import FinishReason, Piece, PieceKind
from mlxknife.domain.generation.values.requests import TokenLikelihood, Told
from starlette.types import Message

from mlxknife.domain.errors import KnifeError, NotEnoughMemory, WorkerLost
from mlxknife.domain.serving.services.model_pool import Residents
from mlxknife.domain.serving.services.servable_models import Served, Serving
from mlxknife.http.apis.openai.generation import Event, acquire, merged
from mlxknife.http.core.errors import ClientDisconnected, GenerationCancelled, ServerStopping
from mlxknife.http.core.state import ServerState
from mlxknife.http.options import Options
from tests.fakes.serving import NAME, FakeLease, FakePool, FakeServed, FakeServing, info

SERVED = cast("Served", FakeServed(info(NAME)))


async def lease_of(pool: FakePool) -> FakeLease:
    return cast("FakeLease", await acquire(cast("Residents", pool), SERVED))


def test_a_lease_that_is_granted_at_once_is_returned() -> None:
    async def run() -> None:
        pool = FakePool()
        assert pool.leases == [await lease_of(pool)]

    asyncio.run(run())


def test_a_lease_that_is_granted_later_is_waited_for() -> None:
    async def run() -> None:
        pool = FakePool(load_seconds=0.01)
        assert await lease_of(pool) is pool.leases[0]
        assert pool.cancelled_waits == 0

    asyncio.run(run())


@pytest.mark.parametrize("load_seconds", [None, 0.01])
def test_an_error_of_the_pool_is_raised(load_seconds: float | None) -> None:
    async def run() -> None:
        pool = FakePool(load_seconds=load_seconds, lease_error=NotEnoughMemory("big"))
        with pytest.raises(NotEnoughMemory):
            await lease_of(pool)

    asyncio.run(run())


@pytest.mark.parametrize("is_granted_first", [True, False])
def test_a_cancelled_wait_leaves_no_lease_behind(*, is_granted_first: bool) -> None:
    async def run() -> None:
        pool = FakePool(load_seconds=0.0 if is_granted_first else 60.0)
        waiting = asyncio.create_task(lease_of(pool))
        await asyncio.sleep(0)
        if is_granted_first:
            while not pool.granted:  # noqa: ASYNC110 - it must be granted and not yet read
                await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not waiting.cancelled():
            waiting.result().release()
        assert pool.leases == []
        assert pool.cancelled_waits == 1

    asyncio.run(run())


def delta(text: str, kind: PieceKind = PieceKind.ANSWER, ended: FinishReason | None = None) -> Told:
    return Told((Piece(kind, text),), (TokenLikelihood(text, text.encode(), -1.0),), ended)


def test_the_deltas_of_one_answer_are_merged() -> None:
    reasoning = PieceKind.REASONING
    events: list[Event] = [
        (0, delta("a", reasoning)),
        (1, delta("x")),
        (0, delta("b", reasoning)),
        (0, delta("c")),
        (0, delta("d", ended=FinishReason.STOP)),
    ]
    (zero, one), error = merged(events)
    assert error is None
    assert one == (1, delta("x"))
    assert zero[1].pieces == (Piece(reasoning, "ab"), Piece(PieceKind.ANSWER, "cd"))
    assert [token.token for token in zero[1].likelihoods] == ["a", "b", "c", "d"]
    assert zero[1].ended is FinishReason.STOP


def test_deltas_after_an_error_are_dropped() -> None:
    failure = KnifeError("x")
    assert merged([(0, delta("a")), (1, failure), (0, delta("never"))]) == ([(0, delta("a"))], failure)


def test_a_cancelled_answer_is_an_error() -> None:
    deltas, error = merged([(0, delta("a")), (0, delta("b", ended=FinishReason.CANCELLED))])
    assert deltas == [(0, delta("a"))]
    assert isinstance(error, GenerationCancelled)


class Client:
    """The receive side of a request whose body was read."""

    def __init__(self) -> None:
        self.has_left = asyncio.Event()

    async def receive(self) -> Message:
        await self.has_left.wait()
        return {"type": "http.disconnect"}


def state_of_server() -> ServerState:
    return ServerState(cast("Serving", FakeServing()), cast("Residents", FakePool()), Options())


def test_work_is_cancelled_when_its_client_disconnects() -> None:
    async def run() -> None:
        client, is_cancelled = Client(), asyncio.Event()

        async def work() -> None:
            client.has_left.set()
            try:
                await asyncio.sleep(60)
            finally:
                is_cancelled.set()

        with pytest.raises(ClientDisconnected):
            await state_of_server().run_until_disconnect(work(), client.receive)
        assert is_cancelled.is_set()

    asyncio.run(run())


def test_work_is_cancelled_when_the_server_ends_its_requests() -> None:
    async def run() -> None:
        state = state_of_server()
        asyncio.get_running_loop().call_later(0.01, state.end_requests)
        with pytest.raises(ServerStopping):
            await state.run_until_disconnect(asyncio.sleep(60), Client().receive)

    asyncio.run(run())


def test_work_that_fails_while_it_is_cancelled_is_no_complaint_of_the_event_loop() -> None:
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        is_failing = asyncio.Event()

        async def fail() -> None:
            await is_failing.wait()
            msg = "It crashed"
            raise WorkerLost(msg)

        running = asyncio.create_task(state_of_server().run_until_disconnect(fail(), Client().receive))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        is_failing.set()
        await asyncio.sleep(0)  # the work fails in this iteration of the loop
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        del running
        gc.collect()

    asyncio.run(run())
    assert complaints == []
