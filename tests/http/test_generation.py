"""Leases that are waited for, deltas that are merged, and work that ends when its client disconnects."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message

from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import KnifeError, NotEnoughMemory, ServerBusy, WorkerLost
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, TokenLogprob
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.tools.values import ToolCallDelta
from mlxknife.http.apis.openai.generation import Event, event_bytes, merged
from mlxknife.http.core.errors import ClientDisconnected, ServerStopping
from mlxknife.http.core.leases import acquire
from mlxknife.http.core.state import ServerState
from tests.fakes.manual_processes import ManualProcesses
from tests.fakes.serving import NAME, FakeBackend, servable
from tests.fakes.system import FakeSystem

MODEL = servable(NAME)


def new_pool() -> tuple[ModelPool, ManualProcesses]:
    processes = ManualProcesses()
    return ModelPool(processes, FakeSystem()), processes


def leases_of(pool: ModelPool) -> set[Lease]:
    return {lease for loaded in pool.loaded() for lease in loaded.leases}


async def load(pool: ModelPool, processes: ManualProcesses) -> Lease:
    """Load the model, and return the lease that was waited for."""
    waiting = asyncio.create_task(acquire(pool, MODEL))
    await asyncio.sleep(0)
    processes.started[-1].loaded()
    return await waiting


def test_a_lease_of_a_loaded_model_is_granted_at_once() -> None:
    async def run() -> None:
        pool, processes = new_pool()
        first = await load(pool, processes)
        second = await acquire(pool, MODEL)
        assert leases_of(pool) == {first, second}

    asyncio.run(run())


def test_a_lease_of_a_model_that_loads_is_waited_for() -> None:
    async def run() -> None:
        pool, processes = new_pool()
        waiting = [asyncio.create_task(acquire(pool, MODEL)) for _ in range(2)]
        await asyncio.sleep(0)
        assert pool.pending == 2
        processes.started[0].loaded()
        assert leases_of(pool) == {await one for one in waiting}
        assert pool.pending == 0

    asyncio.run(run())


def close(pool: ModelPool, processes: ManualProcesses) -> None:
    del processes
    pool.close()


def fail_to_load(pool: ModelPool, processes: ManualProcesses) -> None:
    del pool
    processes.started[0].crash(NotEnoughMemory("big"))


@pytest.mark.parametrize(("fail", "kind"), [(close, ServerBusy), (fail_to_load, NotEnoughMemory)])
def test_an_error_of_the_pool_is_raised(
    fail: Callable[[ModelPool, ManualProcesses], None], kind: type[KnifeError]
) -> None:
    async def run() -> None:
        pool, processes = new_pool()
        waiting = asyncio.create_task(acquire(pool, MODEL))
        await asyncio.sleep(0)
        fail(pool, processes)
        with pytest.raises(kind):
            await waiting

    asyncio.run(run())


def test_an_error_of_a_pool_that_is_closed_already_is_raised() -> None:
    async def run() -> None:
        pool, _ = new_pool()
        pool.close()
        with pytest.raises(ServerBusy):
            await acquire(pool, MODEL)

    asyncio.run(run())


@pytest.mark.parametrize("is_granted_first", [True, False])
def test_a_cancelled_wait_leaves_no_lease_behind(*, is_granted_first: bool) -> None:
    async def run() -> None:
        pool, processes = new_pool()
        waiting = asyncio.create_task(acquire(pool, MODEL))
        await asyncio.sleep(0)
        if is_granted_first:  # and not yet received
            processes.started[0].loaded()
            assert len(leases_of(pool)) == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert leases_of(pool) == set()
        assert pool.pending == 0
        processes.started[0].loaded()
        assert leases_of(pool) == set()

    asyncio.run(run())


def delta(index: int, text: str, kind: TextKind = TextKind.ANSWER, reason: FinishReason | None = None) -> Delta:
    return Delta(index, (TextDelta(kind, text),), (TokenLogprob(text, text.encode(), -1.0),), reason)


def test_the_deltas_of_one_answer_are_merged() -> None:
    reasoning = TextKind.REASONING
    events: list[Event] = [
        Accepted(5),
        delta(0, "a", reasoning),
        delta(1, "x"),
        delta(0, "b", reasoning),
        delta(0, "c"),
        delta(0, "d", reason=FinishReason.STOP),
    ]
    (zero, one), error = merged(events)
    assert error is None
    assert one == delta(1, "x")
    assert zero.index == 0
    assert zero.texts == (TextDelta(reasoning, "ab"), TextDelta(TextKind.ANSWER, "cd"))
    assert [token.token for token in zero.logprobs] == ["a", "b", "c", "d"]
    assert zero.finish_reason is FinishReason.STOP


def test_the_deltas_of_calls_are_merged() -> None:
    events: list[Event] = [
        Delta(0, tool_calls=(ToolCallDelta(0, "call_1", "add"),)),
        Delta(0, tool_calls=(ToolCallDelta(0, arguments="{"),)),
        Delta(1, tool_calls=(ToolCallDelta(0, "call_2", "sub"),)),
        Delta(0, tool_calls=(ToolCallDelta(0, arguments="}"), ToolCallDelta(1, "call_3", "add"))),
        Delta(0, finish_reason=FinishReason.TOOL_CALLS),
    ]
    (zero, one), _ = merged(events)
    assert zero.tool_calls == (ToolCallDelta(0, "call_1", "add", "{}"), ToolCallDelta(1, "call_3", "add"))
    assert one.tool_calls == (ToolCallDelta(0, "call_2", "sub"),)
    assert zero.finish_reason is FinishReason.TOOL_CALLS


def test_the_arguments_of_calls_count_where_a_client_does_not_read() -> None:
    small, large = (Delta(tool_calls=(ToolCallDelta(0, arguments="x" * size),)) for size in (1, 100_001))
    assert event_bytes(large) - event_bytes(small) == 100_000
    assert event_bytes(small) > event_bytes(Delta())


def test_deltas_after_an_error_are_dropped() -> None:
    failure = KnifeError("x")
    assert merged([delta(0, "a"), failure, delta(0, "never")]) == ([delta(0, "a")], failure)


class Client:
    """The receive side of a request whose body was read."""

    def __init__(self) -> None:
        self.has_left = asyncio.Event()

    async def receive(self) -> Message:
        await self.has_left.wait()
        return {"type": "http.disconnect"}


def state_of_server() -> ServerState:
    state: ServerState = FakeBackend().app().state.server
    return state


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
