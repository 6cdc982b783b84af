"""Clients that disconnect, or stay and do not read: their generation ends, and holds no memory until then."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random

import pytest

from tests.e2e.fuzzing import CHAT, TEXT
from tests.e2e.load import megabytes, open_files
from tests.e2e.wire import Line, bounded, get, kilobytes, line, post
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MODEL = parrot_folder().name
STEP = 0.15
_SOON = 20.0


def endless(*, stream: bool, answers: int = 1, tokens: int = 100_000) -> bytes:
    """Return a request for a very long answer."""
    body = {"model": MODEL, "prompt": "a", "temperature": 1, "max_tokens": tokens, "stream": stream, "n": answers}
    return post(TEXT, json.dumps(body).encode())


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _SOON
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def running(server: FakeServer) -> int:
    with line(server.port) as one:
        (model,) = json.loads(one.ask(get("/health")).body)["models"]
        return int(model["running"])


def steps_after_disconnect(server: FakeServer, *, stream: bool, leave: Callable[[Line], None], answers: int = 1) -> int:
    """Return the number of decode steps of a row after its client disconnected."""
    with line(server.port) as one:
        before = rows_of(server)
        one.send(endless(stream=stream, answers=answers))
        until(lambda: len(rows_of(server) - before) == answers)
        mine = rows_of(server) - before
        until(lambda: mine <= rows_of(server, "step"))
        left = time.monotonic()
        leave(one)
    until(lambda: mine <= rows_of(server, "cancel"))
    until(lambda: running(server) == 0)
    return sum(note.at > left and bool(mine.intersection(note.rows)) for note in server.notes("step"))


def rows_of(server: FakeServer, kind: str = "row") -> set[int]:
    """Return the rows in the model's notes of one kind; ``row`` has all rows that were started."""
    return {row for note in server.notes(kind) for row in note.rows}


def disconnect(one: Line) -> None:
    one.close()


def reset(one: Line) -> None:
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()


def disconnect_with_pipelined_requests(one: Line) -> None:
    one.send(get("/health") * 3)
    one.close()


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "document"])
@pytest.mark.parametrize("leave", [disconnect, reset, disconnect_with_pipelined_requests])
def test_a_disconnect_cancels_the_rows_within_two_steps(*, stream: bool, leave: Callable[[Line], None]) -> None:
    with FakeServer(parrot_folder(), STEP) as server:
        assert steps_after_disconnect(server, stream=stream, leave=leave, answers=2) <= 2


def disconnect_repeatedly(times: int) -> None:
    with FakeServer(parrot_folder(), 0.005) as server:
        with line(server.port) as one:
            one.ask(endless(stream=False, tokens=1))
        complete = rows_of(server)
        with bounded(server.pid):
            for number in range(times):
                with line(server.port) as one:
                    one.send(endless(stream=bool(number % 2)))
                    if number % 3:
                        time.sleep(0.01)
            until(lambda: running(server) == 0)
        until(lambda: rows_of(server) - complete <= rows_of(server, "cancel"))
    assert "Traceback" not in server.stderr


def test_many_disconnects_leave_nothing_behind() -> None:
    disconnect_repeatedly(60)


@pytest.mark.stress(part="disconnects")
def test_thousands_of_disconnects_leave_nothing_behind() -> None:
    disconnect_repeatedly(3000)


def leave_stream(port: int, chance: Random) -> str:
    """Read some of a stream, and leave it; return the way."""
    ways = (disconnect, reset, disconnect_with_pipelined_requests)
    with line(port) as one:
        one.send(endless(stream=True, answers=chance.randint(1, 3)))
        one.wait_for(b"data: ")
        for _ in range(chance.randrange(4)):
            one.socket.recv(chance.randint(1, 2000))
        leave = chance.choice(ways)
        leave(one)
    return leave.__name__


@pytest.mark.parametrize("count", [24, pytest.param(1000, marks=pytest.mark.stress(part="disconnects"))])
def test_clients_that_leave_in_the_middle_of_a_stream_leave_nothing_behind(scorecard: Scorecard, count: int) -> None:
    with FakeServer(parrot_folder(), 0.005) as server, ThreadPoolExecutor(8) as pool:
        with line(server.port) as one:
            one.ask(endless(stream=False, tokens=1))
        complete = rows_of(server)
        before, files = kilobytes(server.pid), open_files(server.pid)
        chances = [Random(f"{scorecard.seed} {number}") for number in range(count)]
        with bounded(server.pid):
            ways = Counter(pool.map(lambda chance: leave_stream(server.port, chance), chances))
            until(lambda: running(server) == 0)
        until(lambda: rows_of(server) - complete <= rows_of(server, "cancel"))
        until(lambda: open_files(server.pid) <= files + 1)
        grown = kilobytes(server.pid) - before
        rows = len(rows_of(server) - complete)
    scorecard.record(
        counts={**ways, "rows cancelled": rows},
        figures={"front grew MB": megabytes(grown)},
    )
    assert rows >= count
    assert "Traceback" not in server.stderr


def read_nothing(count: int, seconds: float) -> None:
    """Run clients that never read their streams: they are disconnected, and hold no memory until then."""
    options: dict[str, object] = {"stall_seconds": seconds}
    with FakeServer(parrot_folder(), 0.0, options) as server:
        with line(server.port) as one:
            one.ask(endless(stream=False, tokens=1))
        lines = [Line(server.port) for _ in range(count)]
        with bounded(server.pid):
            for one in lines:
                one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.send(endless(stream=True, answers=4))
            until(lambda: running(server) > 0)
            with line(server.port) as other:
                body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
                assert other.ask(post(CHAT, json.dumps(body).encode())).status == 200
            end = time.monotonic() + 90
            while running(server):
                assert time.monotonic() < end, "unread streams go on"
                time.sleep(0.1)
        for one in lines:
            one.close()
    assert "Traceback" not in server.stderr


def test_unread_streams_end_and_hold_no_memory() -> None:
    read_nothing(4, 1.0)


@pytest.mark.stress(part="unread-streams")
def test_many_unread_streams_end_and_hold_no_memory() -> None:
    read_nothing(32, 5.0)


def is_closed(one: Line) -> bool:
    """Read what the system has taken for a client, and return whether the server closed the connection behind it."""
    end = time.monotonic() + _SOON
    with suppress(ConnectionResetError):
        while time.monotonic() < end:
            try:
                if not one.socket.recv(65536):
                    break
            except TimeoutError:
                return False
    return time.monotonic() < end


def test_unread_documents_end_the_connection() -> None:
    """A client sends requests on one connection and reads no response."""
    with (
        FakeServer(parrot_folder(), 0.0, {"stall_seconds": 1.0}) as server,
        bounded(server.pid),
        line(server.port) as one,
    ):
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.socket.settimeout(5)
        asked = get("/openapi.json") * 10
        end = time.monotonic() + _SOON
        with suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            while time.monotonic() < end:
                one.socket.sendall(asked)
        assert is_closed(one)
