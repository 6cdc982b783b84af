"""Bursts of more clients than the server admits, and slow clients: refusals come at once, and each client gets one."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections import Counter

import attrs
import pytest

from tests.e2e.fuzzing import CHAT
from tests.e2e.wire import bounded, get, line, post
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MODEL = parrot_folder().name
_MAX_MEDIAN = 2.0
"""Seconds that the median refusal may take on a busy machine."""


@attrs.frozen
class Outcome:
    """The response that one client got."""

    status: int
    seconds: float
    """From the connection to the end of the answer."""
    has_retry_after: bool
    is_whole: bool


def request(*, stream: bool, tokens: int = 20) -> bytes:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": tokens, "stream": stream}
    return post(CHAT, json.dumps(body).encode(), "Connection: close")


async def client(port: int, *, stream: bool, after: float = 0.0) -> Outcome:
    """Connect, send a request and read the whole response; the time starts with the connection."""
    await asyncio.sleep(after)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        began = time.monotonic()
        writer.write(request(stream=stream))
        whole = await reader.read()
    finally:
        writer.close()
    seconds = time.monotonic() - began
    head, _, body = whole.partition(b"\r\n\r\n")
    is_whole = (b"[DONE]" in body if stream else body.endswith(b"}")) if head[9:12] == b"200" else b'"error"' in body
    return Outcome(int(head[9:12]), seconds, b"\r\nretry-after: " in head.lower(), is_whole)


async def burst(port: int, size: int, within: float) -> list[Outcome]:
    """Run so many clients, started within some seconds; half of them read a stream."""
    delays = (within * number / size for number in range(size))
    return await asyncio.gather(
        *(client(port, stream=bool(number % 2), after=delay) for number, delay in enumerate(delays))
    )


def run_burst(size: int, options: dict[str, object], step_seconds: float, within: float = 0.0) -> None:
    """Run a burst; each client must be answered or refused, and the server must be idle afterwards."""
    with FakeServer(parrot_folder(), step_seconds, options) as server:
        with line(server.port) as one:
            one.ask(request(stream=False, tokens=1))
        with bounded(server.pid):
            outcomes = asyncio.run(burst(server.port, size, within))
        counted = Counter(one.status for one in outcomes)
        refused = [one for one in outcomes if one.status != 200]
        median = statistics.median(one.seconds for one in refused)
        sys.stdout.write(
            f"\n{size} clients in {within} s: {dict(counted)}, refusals {median * 1000:.1f} ms at the median" + "\n"
        )
        assert set(counted) <= {200, 429, 503}
        assert counted[200] >= int(str(options.get("max_requests", 256)))
        assert all(one.is_whole for one in outcomes)
        assert all(one.has_retry_after for one in refused)
        assert median < _MAX_MEDIAN
        with line(server.port) as one:
            health = json.loads(one.ask(get("/health")).body)
            assert [model["running"] for model in health["models"]] == [0]
            assert one.ask(request(stream=False)).status == 200
    assert "Traceback" not in server.stderr


def test_a_burst_is_answered_or_refused_with_retry_after() -> None:
    run_burst(200, {"max_requests": 32}, 0.02)


@pytest.mark.stress(part="bursts")
def test_a_thousand_clients_are_answered_or_refused_with_retry_after() -> None:
    run_burst(1000, {}, 0.05)


@pytest.mark.stress(part="bursts")
@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_a_thousand_clients_within_seconds_are_answered_or_refused_with_retry_after(seconds: float) -> None:
    run_burst(1000, {}, 0.05, within=seconds)


async def slow(port: int) -> float:
    """Send half of a head and then single bytes; return the time until the server closed the connection."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX: ")
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        await asyncio.wait((ended,), timeout=0.3)
        if not ended.done():
            writer.write(b"y")
    ended.exception()  # a reset is an end as well
    writer.close()
    return time.monotonic() - began


async def beside(port: int, count: int) -> tuple[list[float], list[int]]:
    """Run slow clients, and a normal client that sends requests until all slow ones are disconnected."""
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(slow(port)) for _ in range(count)]
        statuses = []
        while not all(task.done() for task in held):
            statuses.append((await client(port, stream=True)).status)
            await asyncio.sleep(0.2)
    return [task.result() for task in held], statuses


def send_endless_heads(count: int, options: dict[str, object]) -> float:
    """Run clients that never finish a head; return the time until the last of them was disconnected."""
    with FakeServer(parrot_folder(), 0.002, options) as server, bounded(server.pid):
        ends, statuses = asyncio.run(beside(server.port, count))
    assert set(statuses) == {200}
    return max(ends)


def test_clients_with_endless_heads_are_disconnected_while_others_are_answered() -> None:
    assert send_endless_heads(60, {"header_seconds": 1.0}) >= 1.0


@pytest.mark.stress(part="slow-connections")
def test_three_hundred_slow_heads_are_disconnected_within_fifteen_seconds() -> None:
    last = send_endless_heads(300, {})
    sys.stdout.write(f"\nthe last of 300 slow heads was closed after {last:.1f} s" + "\n")
    assert last <= 15
