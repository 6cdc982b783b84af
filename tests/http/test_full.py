"""A full server: who comes is told so before any work, and nothing else is left out over it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Message, Scope

from mlxknife.http.app import create_app
from mlxknife.http.front import Front
from mlxknife.http.options import Options
from mlxknife.http.visit import NEWCOMER
from tests.fakes.serving import FakeResidents, FakeServing
from tests.http.conftest import BODY
from tests.http.servers import Process, chat, read_until, request, rest, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "a-key-for-this-test"
SLOW = {"step_seconds": 0.05, "words": 10_000}


@pytest.fixture(scope="module")
def full() -> Iterator[Process]:
    """Lend a server without a single place."""
    options = {"max_requests": 0, "api_key": KEY, "cors_origins": ("https://page.example",)}
    with serving(options) as process:
        yield process


def with_fields(data: bytes, *fields: str) -> bytes:
    """Return a request with more fields in its head."""
    head, _, body = data.partition(b"\r\n\r\n")
    return b"\r\n".join([head, *(field.encode() for field in (f"Authorization: Bearer {KEY}", *fields))]) + (
        b"\r\n\r\n" + body
    )


FIELDS = (b"retry-after: 1", b"x-request-id: mine-1", b"x-content-type-options: nosniff", b"date: ")


def test_it_says_when_to_come_again_and_keeps_the_connection(full: Process) -> None:
    with full.connect() as client:
        for _ in range(3):
            client.sendall(with_fields(chat(close=False), "X-Request-ID: mine-1"))
            answer = one_answer(client).lower()
            assert answer.startswith(b"http/1.1 429 too many requests\r\n")
            for field in FIELDS:
                assert b"\r\n" + field in answer
            assert b"connection: close" not in answer
        client.sendall(with_fields(request("GET", "/health")))
        assert rest(client).startswith(b"HTTP/1.1 200 ")


def one_answer(client: socket.socket) -> bytes:
    """Read one answer of a connection that stays."""
    data = read_until(client, b"\r\n\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length is not None
    while len(body) < int(length[1]):
        body += client.recv(65_536)
    return head + b"\r\n\r\n" + body


def test_it_is_an_error_document_like_any_other(full: Process) -> None:
    answer = full.ask(with_fields(chat()))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head.lower()
    assert f"content-length: {len(body)}".encode() in head.lower()
    error = json.loads(body)["error"]
    assert (error["type"], error["code"], error["retryable"]) == ("server_busy", "rate_limit_exceeded", True)
    assert "0 requests wait or run already" in error["message"]


def test_it_says_the_same_to_a_crowd_and_closes_the_connections(full: Process) -> None:
    clients = [full.connect() for _ in range(60)]
    for client in clients:
        client.sendall(with_fields(chat(close=False), "X-Request-ID: mine-1"))
    answers = [one_answer(client).lower() for client in clients]
    for client in clients:
        client.close()
    for answer in answers:
        assert answer.startswith(b"http/1.1 429 too many requests\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "rate_limit_exceeded"
        for field in FIELDS:
            assert b"\r\n" + field in answer
    assert sum(b"\r\nconnection: close" in answer for answer in answers) > len(answers) // 2


def test_many_requests_in_advance_are_all_answered(full: Process) -> None:
    many = with_fields(chat(close=False)) * 9 + with_fields(chat())
    assert re.findall(rb"HTTP/1.1 (\d+)", full.ask(many)) == [b"429"] * 10


def test_a_page_that_may_ask_can_read_it(full: Process) -> None:
    answer = full.ask(with_fields(chat(), "Origin: https://page.example")).lower()
    assert answer.startswith(b"http/1.1 429 ")
    assert b"access-control-allow-origin: https://page.example\r\n" in answer
    preflight = request("OPTIONS", "/v1/chat/completions").replace(
        b"\r\n\r\n", b"\r\nOrigin: https://page.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    )
    assert full.ask(preflight).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (chat(), b"401"),
        (with_fields(chat()).replace(KEY.encode(), b"another-key"), b"401"),
        (with_fields(chat()).replace(b"Host: localhost", b"Host: evil.example"), b"403"),
        (with_fields(chat()).replace(b"POST /v1", b"POST http://evil.example/v1"), b"403"),
        (with_fields(chat(), "Origin: https://other.example"), b"403"),
        (with_fields(chat()).replace(b"/chat/completions", b"/models"), b"405"),
        (with_fields(chat()).replace(b"/v1/chat", b"/v2/chat"), b"404"),
        (with_fields(request("GET", "/v1/models")), b"200"),
    ],
)
def test_what_else_is_to_be_told_is_told_first(full: Process, data: bytes, status: bytes) -> None:
    assert full.ask(data)[9:12] == status
    clients = [full.connect() for _ in range(20)]
    for client in clients:
        client.sendall(data)
    assert {rest(client)[9:12] for client in clients} == {status}
    for client in clients:
        client.close()


def test_a_body_that_comes_late_is_not_waited_for(full: Process) -> None:
    head, _, body = with_fields(chat()).partition(b"\r\n\r\n")
    with full.connect() as client:
        client.sendall(head + b"\r\n\r\n" + body[:10])
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 429 ")
    broken = with_fields(chat()).replace(b"Content-Length:", b"Transfer-Encoding: chunked\r\nX:")
    assert full.ask(broken.replace(body, b"zz\r\n"))[9:12] in (b"400", b"429")


def test_they_are_counted_and_logged() -> None:
    with serving({"max_requests": 0}) as process:
        process.ask(chat())
        clients = [process.connect() for _ in range(40)]
        for client in clients:
            client.sendall(chat())
        for client in clients:
            rest(client)
            client.close()
        assert process.metric("mlxknife_refused_total") == 41
        process.end()
        lines = [line for line in process.log().splitlines() if "POST /v1/chat/completions 429" in line]
    assert len(lines) == 41
    assert all("0 requests wait or run already" in line for line in lines)


def test_of_those_who_come_at_once_as_many_are_taken_in_as_there_are_places() -> None:
    """Nobody has taken a place yet when the last of them is there."""
    with serving({"max_requests": 3}, {"step_seconds": 0.02, "words": 20}) as process:
        for _ in range(2):
            clients = [process.connect() for _ in range(12)]
            for client in clients:
                client.sendall(chat())
            statuses = sorted(rest(client)[9:12] for client in clients)
            assert statuses.count(b"200") >= 3
            assert set(statuses) == {b"200", b"429"}
            for client in clients:
                client.close()
        wait_for_nobody(process)
        assert process.ask(chat()).startswith(b"HTTP/1.1 200 ")


def test_who_goes_away_leaves_the_place_to_others() -> None:
    with serving({"max_requests": 1}, SLOW) as process:
        for leaves_early in (False, True, False):
            client = process.connect()
            client.sendall(chat() if not leaves_early else chat()[:-1])
            if not leaves_early:
                assert read_until(client, b"data: ").startswith(b"HTTP/1.1 200 ")
                assert process.ask(chat()).startswith(b"HTTP/1.1 429 ")
            client.close()
            wait_for_nobody(process)


def test_who_is_gone_at_once_leaves_the_place_to_others_too() -> None:
    with serving({"max_requests": 2}) as process:
        for _ in range(20):
            client = process.connect()
            client.sendall(chat())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
            client.close()
        for _ in range(400):
            if process.ask(chat()).startswith(b"HTTP/1.1 200 "):
                return
            time.sleep(0.01)
        pytest.fail("somebody who is gone has a place")


@pytest.mark.parametrize("body", [b"{}", b"no json", json.dumps(BODY).encode()])
def test_a_newcomer_is_forgotten_with_the_place_or_with_the_answer(body: bytes) -> None:
    app = create_app(FakeServing(), FakeResidents(), Options(max_requests=2))
    front: Front = app.state.front
    newcomer, rooms = object(), list[bool]()
    fields = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    path = "/v1/chat/completions"
    scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": fields, "query_string": b""}
    said: list[Message] = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        if said:
            return said.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_: Message) -> None:
        rooms.append(front.has_room_for_newcomers)

    async def play() -> None:
        front.expect(newcomer)
        assert front.has_room_for_newcomers
        await app({**scope, NEWCOMER: newcomer}, receive, send)
        front.expect(object())
        assert front.has_room_for_newcomers
        front.expect(object())
        assert not front.has_room_for_newcomers
        front.close()

    asyncio.run(play())
    assert all(rooms), "it counts once, also where it has a place"


def wait_for_nobody(process: Process) -> None:
    for _ in range(400):
        if process.metric("mlxknife_requests_in_flight") == 0:
            return
        time.sleep(0.01)
    pytest.fail("somebody stays")
