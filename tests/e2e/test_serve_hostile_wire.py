"""Malformed, ambiguous, pipelined and partial requests: refused or answered properly, and in time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.fuzzing import CHAT
from tests.e2e.wire import Reply, bounded, get, line, post
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MODEL = parrot_folder().name
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 2}).encode()
STREAM = BODY[:-1] + b', "stream": true}'
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SIZE = f"Content-Length: {len(BODY)}"
SECOND_REQUEST = get("/v1/models")
LAST = "Connection: close"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    short: dict[str, object] = {"idle_seconds": 1, "header_seconds": 2, "body_seconds": 2}
    with FakeServer(parrot_folder(), options=short) as server, bounded(server.pid):
        yield server
    assert "Traceback" not in server.stderr


def replies(server: FakeServer, data: bytes) -> list[Reply]:
    """Return all responses until the server closes the connection, which it must."""
    with line(server.port) as one:
        one.send(data)
        return one.replies()


def statuses(server: FakeServer, data: bytes) -> list[int]:
    return [reply.status for reply in replies(server, data)]


def asked(*fields: str, body: bytes) -> bytes:
    head = [f"POST {CHAT} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *fields, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


LENGTHS = {
    "both ways": asked(SIZE, "Transfer-Encoding: chunked", body=CHUNKED),
    "both ways, the length first": asked("Transfer-Encoding: chunked", "Content-Length: 0", body=CHUNKED),
    "two lengths": asked(SIZE, f"Content-Length: {len(BODY) + 5}", body=BODY),
    "the length twice": asked(SIZE, SIZE, body=BODY),
    "a list of lengths": asked(f"{SIZE}, {len(BODY)}", body=BODY),
    "a folded header": asked("Transfer-Encoding:\r\n chunked", body=CHUNKED),
    "a space before the colon": asked("Transfer-Encoding : chunked", body=CHUNKED),
    "a line feed alone": b"GET /health HTTP/1.1\nHost: localhost\n\n",
    "a line feed in the head": b"GET /health HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
    "a carriage return alone": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
    "a NUL in a header": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    **{f"length {word!r}": asked(f"Content-Length: {word}", body=BODY) for word in "-1 +5 0x10 1e3 5_0 \xb2".split()},
    **{
        f"encoding {word!r}": asked(f"Transfer-Encoding: {word}", body=CHUNKED)
        for word in (
            "identity",
            "gzip",
            "gzip, chunked",
            "deflate, gzip, chunked",
            "xchunked",
            "chunked, chunked",
            "chunked, identity",
            "chunked;q=1",
            "\x0bchunked",
        )
    },
    "two encodings": asked("Transfer-Encoding: gzip", "Transfer-Encoding: chunked", body=CHUNKED),
    **{
        f"chunk {chunk!r}": asked("Transfer-Encoding: chunked", body=chunk)
        for chunk in (
            *(
                b"zz\r\n",
                b"-1\r\n",
                b"fffffffffffffffff\r\n",
                b"0x5\r\nhello\r\n0\r\n\r\n",
                b"\r\n",
                b"1" + b"0" * 5000,
            ),
            *(b"5\nhello\n0\n\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n"),
        )
    },
}


@pytest.mark.parametrize("data", LENGTHS.values(), ids=LENGTHS)
def test_a_request_with_an_ambiguous_end_is_refused_and_its_connection_closed(server: FakeServer, data: bytes) -> None:
    (reply,) = replies(server, data + SECOND_REQUEST)
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["type"] == "ValidationError"
    assert reply.header("connection") == "close"


ODD = {
    "nothing": (b"", []),
    "empty lines": (b"\r\n" * 1000, []),
    "bytes": (bytes(range(256)) * 10, [400]),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + b"a" * 200, [400]),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    "a line of HTTP/2": (b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n", [400]),
    "a line of HTTP/0.9": (b"GET /health HTTP/0.9\r\nHost: localhost\r\n\r\n", [400]),
    "HTTP/1.2": (b"GET /health HTTP/1.2\r\nHost: localhost\r\n\r\n", [400]),
    "HTTP/1.0 without a host": (b"GET /health HTTP/1.0\r\n\r\n", [400]),
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", [200]),
    "no host": (get("/health", LAST).replace(b"Host: localhost\r\n", b""), [400]),
    "two hosts": (get("/health", "Host: localhost", LAST), [400]),
    "an unknown method": (b"FOO /health HTTP/1.1\r\nHost: localhost\r\n\r\n", [400]),
    "a method in lower case": (b"get /health HTTP/1.1\r\nHost: localhost\r\n\r\n", [400]),
    "TRACE": (get("/health", LAST).replace(b"GET", b"TRACE"), [405]),
    "a proxy": (b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", [400]),
    "five pipelined requests": (get("/health") * 4 + get("/health", LAST), [200] * 5),
    "pipelined generations": (post(CHAT, BODY) * 3 + get("/health", LAST), [200] * 4),
    "too many pipelined requests": (get("/health") * 300, [200] * 17 + [400]),
    "a mistake behind a pipelined request": (get("/health") + b"BAD\r\n\r\n" + get("/health"), [200, 400]),
    "a mistake behind a generation": (post(CHAT, BODY) + b"BAD\r\n\r\n", [200, 400]),
    "a mistake behind a stream": (post(CHAT, STREAM) + get("/health") + b"BAD\r\n\r\n", [200, 200, 400]),
    "a mistake in a pipelined body": (get("/health") + asked("Transfer-Encoding: chunked", body=b"zz\r\n"), [200, 400]),
    "an absolute target": (get("http://localhost/health", LAST), [200]),
    "an absolute target with another Host header": (get("http://localhost/health", LAST, host="evil.example"), [403]),
    "an absolute target of another host": (get("http://evil.example/health", LAST), [403]),
    "a chunk with a very long extension": (asked("Transfer-Encoding: chunked", body=b"1;" + b"a" * 1_000_000), [413]),
    "a chunked body": (asked("Transfer-Encoding: chunked", LAST, body=CHUNKED), [200]),
    "with trailers": (asked("Transfer-Encoding: chunked", LAST, body=CHUNKED[:-2] + b"X: y\r\n\r\n"), [200]),
    "with many trailers": (asked("Transfer-Encoding: chunked", body=CHUNKED[:-2] + b"X: y\r\n" * 10_000), [431]),
    "a body of a GET request": (get("/health", "Content-Length: 5", LAST) + b"hello", [200]),
    "many headers": (get("/health", *(f"X{number}: y" for number in range(500)), LAST), [200]),
    "too many headers": (get("/health", *(f"X{number}: y" for number in range(20_000))), [431]),
    "a long header": (get("/health", "X: " + "y" * 10_000_000), [431]),
    "a long target": (get("/v1/models/" + "a" * 100_000), [431]),
    "half a body": (asked(f"Content-Length: {len(BODY) + 10}", LAST, body=BODY), [408]),
    "a header that does not end": (b"GET /health HTTP/1.1\r\nX: y", []),
    "a web socket": (
        get(
            "/health",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: eA==",
            "Sec-WebSocket-Version: 13",
        ),
        [200],
    ),
    "a form": (
        asked("Content-Length: 2", LAST, body=b"{}").replace(b"application/json", b"multipart/form-data"),
        [415],
    ),
    "a compressed body": (asked(SIZE, "Content-Encoding: gzip", LAST, body=BODY), [415]),
}


@pytest.mark.parametrize(("data", "expected"), ODD.values(), ids=ODD)
def test_each_odd_request_gets_one_response_or_is_refused(server: FakeServer, data: bytes, expected: list[int]) -> None:
    assert statuses(server, data) == expected


PATHS = """* //health /// /v1/models/../../etc/passwd /v1/models/%2e%2e/%2e%2e/etc/passwd /health/ /HEALTH /v1/models;x
/v1/models/..%2f..%2fetc%2fpasswd /v1/models//etc/passwd /v1/models/%2Fetc%2Fpasswd /v1/models/~ /v1/models/~root
/v1/models/. /v1/models/%ff /v1/models/%2e/tests /v1/models/tests /v1/models/./tests /%%%%% /v1/../health /v1/models/%00
/v1/models/ /v1/models/a%0d%0aX-Evil:%20y /v1//models /v1/models/%5c..%5c..%5cetc%5cpasswd /metrics/../health""".split()


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leaves_the_api(server: FakeServer, path: str) -> None:
    (reply,) = replies(server, get(path, LAST))
    assert reply.status in (400, 404)
    error = json.loads(reply.body)["error"]
    assert error["type"] in ("not_found", "model_not_found", "ValidationError")
    assert (error["type"] == "not_found") == (error["param"] is None)
    assert b"root:" not in reply.body
    assert reply.header("x-evil") is None


def test_an_unread_refused_body_gives_no_second_response(server: FakeServer) -> None:
    size = 1_000_000
    refused = asked(f"Content-Length: {size}", body=b"a" * size).replace(b"application/json", b"text/plain")
    with line(server.port) as one:
        one.send(refused + get("/health", LAST))
        assert [reply.status for reply in one.replies()] == [415, 200]


def test_an_unread_refused_body_must_end_in_time(server: FakeServer) -> None:
    with line(server.port) as one:
        one.send(asked("Content-Length: 100000000", body=b""))
        reply = one.reply()
        assert reply is not None
        assert reply.status == 413
        one.send(b"a")
        assert one.is_closed_within(20)
