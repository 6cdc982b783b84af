"""Clients whose reader stops in the middle of a stream: what the server holds for them, and until when."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.e2e.fuzzing import CHAT
from tests.e2e.load import NormalClient, Samples, megabytes, open_files
from tests.e2e.talking import chat
from tests.e2e.wire import Line, children, line, post
from tests.fake_server import FakeServer
from tests.parrot import answers, parrot_folder
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MODEL = parrot_folder().name
_LONG = {"n": 4, "max_tokens": 100_000, "temperature": 1, "logprobs": True, "top_logprobs": 20}
"""Answers of more than 10 MB together: the sockets between a client and the server hold less."""
_TOO_SLOWLY = b"The client reads its response too slowly"
_MAX_GROWTH = 96
"""Megabytes. About 82 may wait for 50 clients, and what a client gets when it reads on is encoded beside that."""


def request(**options: object) -> bytes:
    return post(CHAT, json.dumps(chat(MODEL, answers.GREETING, **options)).encode())


def begun(port: int) -> Line:
    """Return a connection whose stream has begun."""
    one = Line(port, 120)
    one.send(request(stream=True, **_LONG))
    one.wait_for(b"data: ")
    return one


def end_of(one: Line) -> str:
    """Read a stream to its end; return how it ended."""
    last = b""
    try:
        while part := one.socket.recv(1 << 18):
            last = (last + part)[-2000:]
            if last.endswith(b"0\r\n\r\n"):
                break
    except ConnectionResetError:
        return "aborted"
    if b"data: [DONE]" in last:
        return "complete"
    return "ended with an error" if _TOO_SLOWLY in last else "aborted"


def stop_reading(server: FakeServer, count: int, seconds: float, samples: Samples) -> tuple[Counter[str], float]:
    """Let clients stop for some seconds; then one half reads on.

    Return how their streams ended, and after how many seconds the server had closed the connections of the other half.
    """
    files = open_files(server.pid)
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        lines = [stack.enter_context(one) for one in pool.map(lambda _: begun(server.port), range(count))]
        began = time.monotonic()
        time.sleep(seconds)
        ends = Counter(pool.map(end_of, lines[: count // 2]))
        for one in lines[: count // 2]:
            one.close()
        while open_files(server.pid) > files + 1:  # one is of the client that reads
            assert time.monotonic() - began < 600, "unread connections stay open"
            time.sleep(0.1)
        samples.take()
        return ends, time.monotonic() - began


@pytest.mark.stress(part="unread-streams")
def test_fifty_streams_whose_reader_stops_for_a_minute_hold_little_and_harm_no_other(scorecard: Scorecard) -> None:
    count, seconds = 50, 60.0
    with FakeServer(parrot_folder(), 0.002, rows=256) as server:
        with line(server.port) as one:
            one.ask(request())
        samples, other = Samples(server.pid, children(server.pid)[0]), NormalClient(server.port, MODEL)
        before = samples.take().front_kb
        with samples.every(0.5), other.asking():
            ends, closed = stop_reading(server, count, seconds, samples)
        after = samples.take().front_kb
    peak = max(sample.front_kb for sample in samples.taken)
    scorecard.record(
        counts={"clients": count, **{f"read on, {name}": number for name, number in ends.items()}},
        figures={
            "front MB, before": megabytes(before),
            "front MB, peak": megabytes(peak),
            "front MB, after": megabytes(after),
            "all closed after s": round(closed, 1),
            **other.figures(),
        },
    )
    assert sum(ends.values()) == count // 2
    assert megabytes(peak - before) <= _MAX_GROWTH
    assert "Traceback" not in server.stderr
