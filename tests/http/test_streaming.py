"""The generic helpers of streams: an event queue, the head with the first write, and bytes in silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from mlxknife.http.core.streaming import EventQueue, StreamedResponse, UnreadBudget
from tests.fakes.serving import FakeBackend, FakeEngine, answer
from tests.http.conftest import BODY

HEAD = ((b"content-type", b"text/x"),)


def numbers(budget: UnreadBudget | None = None) -> EventQueue[int]:
    """Return a queue whose numbers are as large as their value; -1 comes where too much waits."""
    budget = budget or UnreadBudget(total=100, most=10)
    return EventQueue(size=lambda number: number, on_full=lambda: -1, budget=budget)


def test_a_reader_that_does_not_read_gets_what_waited_and_then_the_last_event() -> None:
    async def run() -> None:
        queue = numbers()
        for _ in range(4):
            for number in (4, 6):
                queue.put(number)
            assert await queue.get_all() == [4, 6]
        for number in (4, 6, 1, 1, 1):
            queue.put(number)
        assert await queue.get_all() == [4, 6, -1]
        queue.put(1)
        following = asyncio.create_task(queue.get_all())
        await asyncio.sleep(0)
        assert not following.done()
        following.cancel()

    asyncio.run(run())


def test_a_slow_reader_gets_all_pending_events_at_once() -> None:
    async def run() -> None:
        queue = numbers()
        for number in range(3):
            queue.put(number)
        assert await queue.get_all() == [0, 1, 2]
        asyncio.get_running_loop().call_later(0.01, queue.put, 3)
        assert await queue.get_all() == [3]

    asyncio.run(run())


def test_a_cancelled_reader_loses_no_event() -> None:
    async def run() -> None:
        queue = numbers()
        first = asyncio.create_task(queue.get_all())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        queue.put(1)
        assert await queue.get_all() == [1]

    asyncio.run(run())


def test_less_may_wait_for_each_client_while_much_waits_for_all() -> None:
    async def run() -> None:
        budget = UnreadBudget(total=21, most=10, least=3)
        first, second, third, reading = (numbers(budget) for _ in range(4))
        for queue in (first, second, third):
            for _ in range(7):
                queue.put(1)
        assert (await first.get_all(), budget.held) == ([1] * 7, 21)  # what is being written still counts
        third.put(1)
        assert await third.get_all() == [*[1] * 7, -1]
        for _ in range(3):
            reading.put(3)
            assert await reading.get_all() == [3]
        for queue in (first, second, third, reading):
            queue.close()
            queue.put(5)
        assert budget.held == 0
        fourth = numbers(budget)
        fourth.put(10)
        assert await fourth.get_all() == [10]

    asyncio.run(run())


_ACTS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 5, 8]) | st.sampled_from(["get", "close"])))


@given(_ACTS)
@settings(deadline=None)
def test_what_waits_is_bounded_for_one_client_and_for_all(acts: list[tuple[int, int | str]]) -> None:
    """Each client either takes events and asks for more, or leaves; it may do so at any time."""
    budget = UnreadBudget(total=20, most=10, least=3)
    queues = [numbers(budget) for _ in range(4)]

    async def run() -> None:
        for index, act in acts:
            queue = queues[index]
            if isinstance(act, int):
                queue.put(act)
            elif act == "close":
                queue.close()
                queues[index] = numbers(budget)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await queue.get_all()
            assert 0 <= budget.held <= 20 + 8 + 2 * len(queues) * (3 + 8)

    asyncio.run(run())
    for queue in queues:
        queue.close()
    assert budget.held == 0


def sent_by(
    play: Callable[[StreamedResponse], Awaitable[None]], silence: float = 60.0, sent: list[Message] | None = None
) -> list[Message]:
    """Return what a response sends; ``sent`` is the list that grows meanwhile."""
    sent = [] if sent is None else sent

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    async def run() -> None:
        await play(StreamedResponse(send, HEAD, b"...", silence))

    asyncio.run(run())
    return sent


def test_the_head_is_sent_with_the_first_write() -> None:
    async def play(response: StreamedResponse) -> None:
        async with response:
            assert not response.has_started
            await response.write(b"a")
            assert response.has_started
        await response.finish(b"b")

    head, *parts = sent_by(play)
    assert head == {"type": "http.response.start", "status": 200, "headers": list(HEAD)}
    assert [(part["body"], part["more_body"]) for part in parts] == [(b"a", True), (b"b", False)]


def test_silence_is_filled_and_starts_the_response() -> None:
    sent: list[Message] = []

    async def play(response: StreamedResponse) -> None:
        async with response:
            while len(sent) < 3:  # noqa: ASYNC110 - a list sets no event
                await asyncio.sleep(0.01)
            assert response.has_started
        await asyncio.sleep(0.05)
        await response.finish(b"end")

    head, *parts, last = sent_by(play, 0.02, sent)
    assert head["type"] == "http.response.start"
    assert len(parts) >= 2
    assert {part["body"] for part in parts} == {b"..."}
    assert last["body"] == b"end"


def test_a_response_that_is_written_to_is_not_silent() -> None:
    async def play(response: StreamedResponse) -> None:
        async with response:
            for _ in range(20):
                await response.write(b"a")
                await asyncio.sleep(0.01)

    assert all(part["body"] == b"a" for part in sent_by(play, silence=5.0)[1:])


def test_writes_and_the_filled_silence_never_send_two_heads() -> None:
    async def play(response: StreamedResponse) -> None:
        async with response:
            for _ in range(20):
                await asyncio.sleep(0.005)
                await response.write(b"a")

    assert [message["type"] for message in sent_by(play, silence=0.005)].count("http.response.start") == 1


def test_an_error_ends_the_watch_for_silence() -> None:
    async def play(response: StreamedResponse) -> None:
        with pytest.raises(ValueError, match="x"):
            async with response:
                raise ValueError("x")  # noqa: EM101
        await asyncio.sleep(0.05)

    assert sent_by(play, silence=0.01) == []


def test_a_client_that_does_not_read_ends_the_generation_and_then_gets_an_error() -> None:
    words = 15_000
    backend = FakeBackend(engine=FakeEngine([answer(*["word "] * words)]))
    body = json.dumps({**BODY, "stream": True, "logprobs": True, "top_logprobs": 1}).encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "query_string": b"",
    }
    received: list[Message] = [{"type": "http.request", "body": body}]
    sent: list[Message] = []

    app = backend.app()

    async def run() -> None:
        may_read = asyncio.Event()

        async def receive() -> Message:
            if received:
                return received.pop()
            never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            return await never

        async def send(message: Message) -> None:
            sent.append(message)
            if len(sent) > 2:
                await may_read.wait()

        request = asyncio.create_task(app(scope, receive, send))
        while not backend.engine.requests or not backend.engine.is_idle:  # noqa: ASYNC110 - a fake sets no event
            await asyncio.sleep(0)
        may_read.set()
        await request

    asyncio.run(run())
    text = b"".join(message.get("body", b"") for message in sent)
    assert text.count(b'"word "') < words
    assert b"event: error" in text[-500:]
    assert b"The client reads its response too slowly" in text[-500:]
    assert backend.leases == []
    assert app.state.server.unread.held == 0
