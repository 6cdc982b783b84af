"""Bursts of more clients than the server admits, and slow clients: refusals come at once, and each client gets one."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter

import attrs
import pytest

from tests.e2e.fuzzing import CHAT
from tests.e2e.load import NormalClient, megabytes, open_files
from tests.e2e.wire import bounded, get, kilobytes, line, post
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder
from tests.scorecard import Scorecard

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


_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
BEGINNINGS = (_HEAD + b"X: ", _HEAD + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
"""Of a head, and of a body."""


@attrs.define
class SlowClients:
    """Clients that send single bytes; those that are disconnected come back for a while."""

    port: int
    pause: float
    """Seconds between two bytes of a slow client."""
    held: list[float] = attrs.field(factory=list)
    """How long each slow connection lasted until the server closed it."""

    async def run(self, count: int, seconds: float) -> None:
        """Run so many slow clients; return when the server has closed the last connection."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._come_back(BEGINNINGS[number % 2], end) for number in range(count)))

    async def _come_back(self, beginning: bytes, end: float) -> None:
        """Connect at least once, and again until the end."""
        await asyncio.sleep(self.pause * random.random())
        while True:
            self.held.append(await self._connect(beginning))
            if time.monotonic() > end:
                return

    async def _connect(self, beginning: bytes) -> float:
        """Send a beginning and then single bytes; return the time until the server closed the connection."""
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(beginning)
        ended = asyncio.create_task(reader.read())
        while not ended.done():
            await asyncio.wait((ended,), timeout=self.pause)
            if not ended.done():
                writer.write(b"1")
        ended.exception()  # a reset is an end as well
        writer.close()
        return time.monotonic() - began


def run_slow(count: int, seconds: float, options: dict[str, object], pause: float, scorecard: Scorecard) -> SlowClients:
    """Run slow clients beside a normal one, which must always be answered."""
    with FakeServer(parrot_folder(), 0.002, options) as server, bounded(server.pid):
        before, files = kilobytes(server.pid), open_files(server.pid)
        clients, normal = SlowClients(server.port, pause), NormalClient(server.port, MODEL)
        with normal.asking():
            asyncio.run(clients.run(count, seconds))
        grown = kilobytes(server.pid) - before
        assert open_files(server.pid) <= files + 4
    scorecard.record(
        counts={"slow clients": count, "connections closed": len(clients.held), "normal requests": len(normal.seconds)},
        figures={
            "closed after s, longest": round(max(clients.held), 1),
            **normal.figures(),
            "front grew MB": megabytes(grown),
        },
    )
    assert len(clients.held) >= count
    return clients


def test_slow_clients_are_disconnected_while_others_are_answered(scorecard: Scorecard) -> None:
    clients = run_slow(60, 0.0, {"header_seconds": 1.0, "body_seconds": 1.0}, 0.3, scorecard)
    assert min(clients.held) >= 1.0


@pytest.mark.stress(part="slow-connections")
def test_a_thousand_slow_clients_for_five_minutes_are_disconnected_while_others_are_answered(
    scorecard: Scorecard,
) -> None:
    clients = run_slow(1000, 300.0, {}, 1.0, scorecard)
    assert max(clients.held) <= 60
