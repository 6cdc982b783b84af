"""The server as a process: start, shutdown, deadlines, and malformed requests."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from contextlib import suppress

import pytest

from mlxknife.http.server.sockets import listen
from tests.http.conftest import BODY
from tests.http.servers import Process, chat, read_until, request, rest, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CHUNKED = b"""POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r
Transfer-Encoding: chunked\r\n\r\n"""
SLOW = {"step_seconds": 0.05, "words": 10_000}


def is_listening(process: Process) -> bool:
    try:
        process.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_connection_is_kept_between_requests() -> None:
    with serving() as process, process.connect() as client:
        for _ in range(3):
            client.sendall(chat(stream=False, close=False))
            assert b"Content-Length" in read_until(client, b"}}}").title()
        client.sendall(chat(close=False))
        assert b"transfer-encoding: chunked" in read_until(client, b"[DONE]\n\n\r\n0\r\n\r\n")
        client.sendall(chat(close=True))
        assert rest(client).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_ends_open_streams_with_an_error_event_and_closes_the_port(number: int, code: int) -> None:
    with serving({"grace_seconds": 0.2}, SLOW) as process:
        clients = [process.connect() for _ in range(20)]
        for client in clients:
            client.sendall(chat())
        for client in clients:
            read_until(client, b"word")
        assert process.end(number) == code
        for client in clients:
            *_, last = rest(client).decode().split("data: ")
            assert json.loads(last.partition("\n\n")[0])["error"]["type"] == "server_stopping"
            assert last.endswith("0\r\n\r\n")
            client.close()
        assert not is_listening(process)
        assert "Traceback" not in process.log()


def test_a_response_that_ends_within_the_grace_period_is_complete() -> None:
    with serving({"grace_seconds": 20.0}, {"step_seconds": 0.02, "words": 30}) as process, process.connect() as client:
        client.sendall(chat(close=False))
        read_until(client, b"word")
        process.child.send_signal(signal.SIGTERM)
        assert rest(client).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
        assert process.child.wait(20) == 0


def test_requests_without_a_response_get_503_at_the_end_of_the_grace_period() -> None:
    for fakes in (SLOW, {"load_seconds": 100.0}):
        with serving({"grace_seconds": 0.1}, fakes) as process, process.connect() as client:
            client.sendall(chat(stream=False))
            process.wait_for("mlxknife_requests_in_flight", 1)
            assert process.end() == 0
            reply = rest(client)
            assert reply.startswith(b"HTTP/1.1 503")
            assert b"server_stopping" in reply
            assert b"retry-after: 1" in reply


def test_a_second_signal_ends_the_server_at_once() -> None:
    with serving({"grace_seconds": 600.0}, SLOW) as process, process.connect() as client:
        client.sendall(chat())
        read_until(client, b"word")
        process.child.send_signal(signal.SIGTERM)
        read_until(client, b"word")
        with pytest.raises(subprocess.TimeoutExpired):
            process.child.wait(0.3)
        assert process.end(signal.SIGTERM) == 128 + signal.SIGTERM


@pytest.mark.parametrize("stream", [True, False])
def test_a_disconnect_cancels_the_generation(*, stream: bool) -> None:
    with serving(fakes=SLOW) as process:
        with process.connect() as client:
            client.sendall(chat(stream=stream))
            process.wait_for("mlxknife_requests_in_flight", 1)
            if stream:
                read_until(client, b"word")
        process.wait_for("mlxknife_requests_in_flight", 0)
        process.wait_for('mlxknife_requests_running{model="org/model"}', 0)
        assert (b'status="499"} 1.0' in process.ask(request("GET", "/metrics"))) == (not stream)


def test_a_disconnect_with_a_pipelined_request_cancels_the_generation() -> None:
    with serving(fakes=SLOW) as process:
        with process.connect() as client:
            client.sendall(chat(close=False) + chat(close=False))
            read_until(client, b"word")
        process.wait_for("mlxknife_requests_in_flight", 0)


def test_a_disconnect_while_the_model_loads_ends_the_request() -> None:
    with serving(fakes={"load_seconds": 100.0}) as process:
        with process.connect() as client:
            client.sendall(chat())
            process.wait_for("mlxknife_requests_in_flight", 1)
        process.wait_for("mlxknife_requests_in_flight", 0)


def test_a_head_must_arrive_in_time_and_others_are_served_meanwhile() -> None:
    with serving({"header_seconds": 0.5}) as process:
        slow = [process.connect() for _ in range(100)]
        for number, client in enumerate(slow):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: loc"[: number % 30])
        assert process.ask(chat(stream=False)).startswith(b"HTTP/1.1 200")
        for client in slow:
            assert rest(client) == b""
            client.close()


def test_a_second_head_that_trickles_must_arrive_in_time() -> None:
    with serving({"header_seconds": 0.3}) as process, process.connect() as client:
        client.sendall(request("GET", "/health", close=False))
        read_until(client, b"}")
        closed = False
        for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 400:
            time.sleep(0.02)
            try:
                client.sendall(bytes([byte]))
            except OSError:
                closed = True
                break
        assert closed


def test_an_idle_connection_is_closed() -> None:
    with serving({"idle_seconds": 1.0, "header_seconds": 60.0}) as process, process.connect() as client:
        client.sendall(request("GET", "/health", close=False))
        read_until(client, b"}")
        assert rest(client) == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 10_000 + b"\r\n", 431),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /%00%0a%1b[31m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://localhost:1/health HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://[::1]/health HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://evil.example/health HTTP/1.0\r\nHost: localhost\r\n\r\n", 403),
        (b"GET http://localhost@evil.example/health HTTP/1.0\r\nHost: localhost\r\n\r\n", 403),
        (b"GET http://localhost/health HTTP/1.0\r\nHost: evil.example\r\n\r\n", 403),
        (CHUNKED + b"1;" + b"a" * 400_000, 413),
        (b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_malformed_request_gets_an_error_document(data: bytes, status: int) -> None:
    with serving({"header_seconds": 1.0, "idle_seconds": 1.0}) as process:
        reply = process.ask(data)
        assert reply.startswith(b"HTTP/1.1 %d " % status), reply[:200]
        assert b"x-request-id: " in reply
        assert b"\x1b" not in reply
        assert (b'"status":"error"' in reply) == (status != 200)
        assert process.ask(request("GET", "/health")).startswith(b"HTTP/1.1 200")
        process.end()
        assert "\x1b" not in process.log()


def test_chunks_that_are_mostly_extensions_are_refused_and_small_ones_are_not() -> None:
    body = json.dumps({**BODY, "user": "x" * 50_000}).encode()
    small = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    extended = b"".join(b"1;%b\r\n%c\r\n" % (b"a" * 100, byte) for byte in body[:5000]) + b"0\r\n\r\n"
    with serving() as process:
        assert process.ask(CHUNKED + small).startswith(b"HTTP/1.1 200")
        assert process.ask(CHUNKED + extended).startswith(b"HTTP/1.1 413")
        assert process.ask(request("GET", "/health")).startswith(b"HTTP/1.1 200")


def test_connections_above_the_limit_get_429_and_are_closed() -> None:
    with serving({"max_connections": 10}) as process:
        clients = [process.connect() for _ in range(30)]
        refused = [client for client in clients[10:] if rest(client).startswith(b"HTTP/1.1 429")]
        assert len(refused) == 20
        for client in clients:
            client.close()
        assert process.ask(request("GET", "/health")).startswith(b"HTTP/1.1 200")


def test_connections_above_the_limit_that_send_at_once_get_429() -> None:
    with serving({"max_connections": 10}) as process:
        clients = [process.connect() for _ in range(60)]
        for client in clients:
            client.sendall(b"GET /health HTTP/1.1\r\n")
        assert {rest(client)[:12] for client in clients[10:]} == {b"HTTP/1.1 429"}
        for client in clients:
            client.close()


def test_connections_stay_below_the_limit_of_open_files() -> None:
    with serving({}, {"open_files": 300}) as process:
        clients = [process.connect() for _ in range(600)]
        refused = [client for client in clients[172:] if rest(client).startswith(b"HTTP/1.1 429")]
        assert len(refused) == 600 - 172
        clients[0].sendall(chat(stream=False))
        assert rest(clients[0]).startswith(b"HTTP/1.1 200")
        for client in clients:
            client.close()
        process.end()
        assert process.log().count("\n") < 10


def test_with_very_few_open_files_connections_are_refused_and_the_log_stays_short() -> None:
    with serving({}, {"open_files": 40}) as process:
        clients = [process.connect() for _ in range(200)]
        assert {rest(client)[:12] for client in clients[10:]} == {b"HTTP/1.1 429"}
        clients[0].sendall(chat(stream=False))
        assert rest(clients[0]).startswith(b"HTTP/1.1 200")
        for client in clients:
            client.close()
        process.end()
        assert process.log().count("\n") < 10


def test_a_pipelined_head_is_limited_while_a_response_runs() -> None:
    with serving(fakes=SLOW) as process, process.connect() as client:
        client.sendall(chat(close=False))
        read_until(client, b"word")
        with suppress(ConnectionError):
            client.sendall(b"GET /health HTTP/1.1\r\nX: " + b"a" * 2_000_000)
        rest(client)
        process.wait_for("mlxknife_requests_in_flight", 0)


def test_a_client_that_does_not_read_is_disconnected() -> None:
    with serving({"stall_seconds": 0.3}, {"words": 200_000}) as process:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", process.port))
        client.sendall(chat())
        process.wait_for("mlxknife_requests_in_flight", 1)
        process.wait_for("mlxknife_requests_in_flight", 0)
        client.close()


def test_a_port_in_use_is_an_error() -> None:
    with serving() as first, serving({"port": first.port}) as second:
        assert second.url == f"ValidationError: Port {first.port} of 127.0.0.1 is in use"
        assert second.child.wait(20) == 99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "no.such.host.invalid"}, "ValidationError: 'no.such.host.invalid' is not a host of this machine"),
        ({"host": "192.0.2.1"}, "ValidationError: 192.0.2.1 is not an address of this machine"),
        ({"port": 70_000}, "ValidationError: 70000 is not a port"),
        ({"port": -1}, "ValidationError: -1 is not a port"),
    ],
)
def test_an_address_that_cannot_be_used_is_an_error(options: dict[str, object], message: str) -> None:
    with serving(options) as process:
        assert process.url == message


def test_the_port_of_an_ended_server_is_free_at_once() -> None:
    with serving() as first:
        first.ask(chat())
        first.end()
        with serving({"port": first.port}) as second:
            assert second.port == first.port


def test_listening_sockets_disable_the_delay_of_nagle() -> None:
    """asyncio sets TCP_NODELAY only for sockets with this protocol; without it, small writes wait for an ACK."""
    (listener,) = listen("127.0.0.1", 0)
    with listener:
        assert listener.proto == socket.IPPROTO_TCP
