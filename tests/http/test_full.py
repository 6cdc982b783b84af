"""A full server: requests are refused before any work, after every check that has nothing to do with load."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.http.servers import Process, chat, read_until, request, rest, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "a-key-for-this-test"
SLOW = {"step_seconds": 0.05, "words": 10_000}
HEADERS = (b"retry-after: 1", b"x-request-id: mine-1", b"x-content-type-options: nosniff", b"date: ")


@pytest.fixture(scope="module")
def full() -> Iterator[Process]:
    """Lend a server that admits no request."""
    options = {"max_requests": 0, "api_key": KEY, "cors_origins": ("https://page.example",)}
    with serving(options) as process:
        yield process


def with_headers(data: bytes, *headers: str) -> bytes:
    """Return a request with the key and more headers."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [head, *(line.encode() for line in (f"Authorization: Bearer {KEY}", *headers))]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize("close", [False, True])
def test_a_refusal_names_the_time_to_retry_and_closes_the_connection(full: Process, *, close: bool) -> None:
    response = full.ask(with_headers(chat(close=close), "X-Request-ID: mine-1")).lower()
    assert response.startswith(b"http/1.1 429 too many requests\r\n")
    for header in (*HEADERS, b"connection: close"):
        assert b"\r\n" + header in response


def test_a_refusal_is_an_error_document_like_any_other(full: Process) -> None:
    head, _, body = full.ask(with_headers(chat())).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    error = json.loads(body)["error"]
    assert (error["type"], error["code"], error["retryable"]) == ("server_busy", "rate_limit_exceeded", True)
    assert "0 requests are waiting or running already" in error["message"]


def test_a_burst_gets_the_same_refusal_and_no_connection_is_reset(full: Process) -> None:
    clients = [full.connect() for _ in range(60)]
    for client in clients:
        client.sendall(with_headers(chat(close=False), "X-Request-ID: mine-1"))
    for client in clients:
        data = read_until(client, b"\r\n\r\n")
        while part := client.recv(65_536):  # raises where the connection is reset
            data += part
        client.close()
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.lower().startswith(b"http/1.1 429 too many requests\r\n")
        assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
        for header in (*HEADERS, b"connection: close"):
            assert b"\r\n" + header in head.lower()


def test_a_page_of_an_allowed_origin_can_read_the_refusal(full: Process) -> None:
    response = full.ask(with_headers(chat(), "Origin: https://page.example")).lower()
    assert response.startswith(b"http/1.1 429 ")
    assert b"access-control-allow-origin: https://page.example\r\n" in response
    preflight = request("OPTIONS", "/v1/chat/completions").replace(
        b"\r\n\r\n", b"\r\nOrigin: https://page.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    )
    assert full.ask(preflight).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (chat(), b"401"),
        (with_headers(chat()).replace(KEY.encode(), b"another-key"), b"401"),
        (with_headers(chat()).replace(b"Host: localhost", b"Host: evil.example"), b"403"),
        (with_headers(chat()).replace(b"POST /v1", b"POST http://evil.example/v1"), b"403"),
        (with_headers(chat(), "Origin: https://other.example"), b"403"),
        (with_headers(chat()).replace(b"/chat/completions", b"/models"), b"405"),
        (with_headers(chat()).replace(b"/v1/chat", b"/v2/chat"), b"404"),
        (with_headers(request("GET", "/v1/models")), b"200"),
    ],
)
def test_other_refusals_come_first_and_other_endpoints_work(full: Process, data: bytes, status: bytes) -> None:
    assert full.ask(data)[9:12] == status
    clients = [full.connect() for _ in range(20)]
    for client in clients:
        client.sendall(data)
    assert {rest(client)[9:12] for client in clients} == {status}
    for client in clients:
        client.close()


def test_a_refusal_does_not_wait_for_the_body(full: Process) -> None:
    head, _, body = with_headers(chat(close=False)).partition(b"\r\n\r\n")
    with full.connect() as client:
        client.sendall(head + b"\r\n\r\n" + body[:10])
        start = read_until(client, b"\r\n\r\n")
        assert start.startswith(b"HTTP/1.1 429 ")
        assert b"connection: close" not in start.lower(), "a connection with an unread body would be reset"
        client.sendall(body[10:] + with_headers(request("GET", "/health")))
        assert b"HTTP/1.1 200 " in rest(client)
    broken = with_headers(chat()).replace(b"Content-Length:", b"Transfer-Encoding: chunked\r\nX:")
    assert full.ask(broken.replace(body, b"zz\r\n"))[9:12] in (b"400", b"429")


def test_a_client_that_waits_for_100_continue_gets_the_refusal_instead(full: Process) -> None:
    head, _, _ = with_headers(chat(), "Expect: 100-continue").partition(b"\r\n\r\n")
    assert full.ask(head + b"\r\n\r\n").startswith(b"HTTP/1.1 429 ")


def test_refusals_are_counted_and_logged() -> None:
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
    assert all("0 requests are waiting or running already" in line for line in lines)


def test_a_burst_fills_every_slot() -> None:
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
        process.wait_for("mlxknife_requests_in_flight", 0)
        assert process.ask(chat()).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_disconnects_frees_its_slot() -> None:
    with serving({"max_requests": 1}, SLOW) as process:
        for disconnects_early in (False, True, False):
            client = process.connect()
            client.sendall(chat() if not disconnects_early else chat()[:-1])
            if not disconnects_early:
                assert read_until(client, b"data: ").startswith(b"HTTP/1.1 200 ")
                assert process.ask(chat()).startswith(b"HTTP/1.1 429 ")
            client.close()
            process.wait_for("mlxknife_requests_in_flight", 0)


def test_a_client_that_resets_its_connection_at_once_frees_its_slot() -> None:
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
        pytest.fail("a slot is still taken")
